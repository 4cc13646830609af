"""Compares the files of `deploy/` with the schemas of what reads them: `check.py KIND FILE...`.

Prints what is wrong, and exits with 1 then. The schemas come with the packages of `requirements.txt`.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

# The oldest version whose schemas the package has, and so the oldest that is promised.
KUBERNETES = "1.30"

# KEDA's own kinds, whose schemas no package has that also refuses unknown fields: the fields of its
# documentation (2.12) that are used here. `...` is anything.
TEXT, NUMBER, ANY = str, int, ...
KEDA: dict[str, Any] = {
    "TriggerAuthentication": {
        "secretTargetRef": [{"parameter": TEXT, "name": TEXT, "key": TEXT}],
    },
    "ScaledObject": {
        "scaleTargetRef": {"name": TEXT},
        "minReplicaCount": NUMBER,
        "maxReplicaCount": NUMBER,
        "pollingInterval": NUMBER,
        "cooldownPeriod": NUMBER,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": ANY}},
        "triggers": [
            {
                "type": TEXT,
                "metadata": {
                    "protocol": TEXT,
                    "mode": TEXT,
                    "useRegex": TEXT,
                    "operation": TEXT,
                    "queueName": TEXT,
                    "value": TEXT,
                    "excludeUnacknowledged": TEXT,
                },
                "authenticationRef": {"name": TEXT},
            }
        ],
    },
}


def compose(path: str) -> Iterator[str]:
    """Compose fills in variables and merges mappings first; variables get their defaults here."""
    import yaml
    from compose_spec import PyCompose

    with open(path, encoding="utf-8") as file:
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read())
    try:
        PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(text))).validate()
    except Exception as error:
        yield str(error)


def kubernetes(path: str) -> Iterator[str]:
    import kubernetes_validate
    import yaml

    with open(path, encoding="utf-8") as file:
        resources = list(yaml.safe_load_all(file))
    for resource in resources:
        name = f"{resource['kind']} {resource['metadata']['name']}"
        if resource["apiVersion"].startswith("keda.sh/"):
            for wrong in differs(resource["spec"], KEDA[resource["kind"]], "spec"):
                yield f"{name}: {wrong}"
            behavior = resource["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
            # KEDA passes that part on to an autoscaler of Kubernetes' own.
            resource = {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": resource["metadata"],
                "spec": {
                    "maxReplicas": 1,
                    "scaleTargetRef": {"kind": "Deployment", "name": "x"},
                    **behavior,
                },
            }
        try:
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)
        except Exception as error:
            yield f"{name}: {error}"


def differs(value: Any, shape: Any, path: str) -> Iterator[str]:
    """What does not have the shape: fields that it lacks, and other types."""
    if shape is ANY:
        return
    if isinstance(shape, list) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from differs(item, shape[0], f"{path}[{index}]")
    elif isinstance(shape, dict) and isinstance(value, dict):
        for key, item in value.items():
            if key in shape:
                yield from differs(item, shape[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: there is no such field"
    elif not isinstance(shape, type) or type(value) is not shape:
        yield f"{path}: {value!r} has the wrong type"


def dashboard(path: str) -> Iterator[str]:
    """Grafana's types keep what they know: what is lost on the way through them is no field."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    with open(path, encoding="utf-8") as file:
        source = json.load(file)
    try:
        known = json.loads(JSONEncoder().encode(Dashboard.from_json(source)))
    except Exception as error:
        yield f"{type(error).__name__}: {error}"
        return
    yield from lost(source, known, "dashboard")


def lost(before: Any, after: Any, path: str) -> Iterator[str]:
    """What `after` lacks."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{path}.{key}")
            elif value not in (None, {}, []):
                yield f"{path}.{key}: there is no such field"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {before!r} was read as {after!r}"


def main() -> int:
    kinds = {"compose": compose, "kubernetes": kubernetes, "dashboard": dashboard}
    check = kinds[sys.argv[1]]
    wrong = [f"{path}: {what}" for path in sys.argv[2:] for what in check(path)]
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main())
