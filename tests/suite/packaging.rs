//! The files of `deploy/` are what those who read them expect: systemd, Prometheus, Grafana, Kubernetes, Compose.

mod alerts;
mod metrics;
mod notified;
mod units;

use std::path::{Path, PathBuf};

use holdfast::cli::config::settings;
use serde_yaml_ng::Value;

use crate::support::program::{Run, bare, ended};

/// A file of this repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    use serde::Deserialize;
    let text = read(name);
    let parts = serde_yaml_ng::Deserializer::from_str(&text);
    parts.map(|part| Value::deserialize(part).expect("YAML")).collect()
}

/// A tool that `./dev test` has found or installed.
async fn run(program: &str, arguments: &[&str]) -> Run {
    let mut command = bare(program, &[("PATH", "/usr/bin:/bin:/usr/local/bin")]);
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    ended(child).await
}

/// Compares files with the schemas of those who read them.
async fn check(kind: &str, files: &[&str]) {
    let python = std::env::var("HOLDFAST_PYTHON").expect("`./dev test` finds it");
    let packages = std::env::var("HOLDFAST_CHECKERS").expect("`./dev test` installs them");
    let mut command = bare(&python, &[("PYTHONPATH", &packages), ("PYTHONDONTWRITEBYTECODE", "1")]);
    command.args(["tests/suite/packaging/check.py", kind]).args(files);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let run = ended(command.spawn().expect("Python")).await;
    assert_eq!((run.code, run.stdout.trim()), (0, ""), "{run:?}");
}

/// The default of a setting.
fn default_of(flag: &str) -> u64 {
    let setting = settings().into_iter().find(|about| about.flag == flag);
    let default = setting.and_then(|about| about.default).expect("the setting has a default");
    default.parse().expect("a number")
}

#[tokio::test]
async fn compose_takes_its_file() {
    check("compose", &["docker-compose.yml"]).await;
}

#[tokio::test]
async fn kubernetes_takes_the_manifests() {
    let files = ["worker", "setup", "keda"].map(|name| format!("deploy/kubernetes/{name}.yaml"));
    check("kubernetes", &files.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn grafana_takes_the_dashboard() {
    check("dashboard", &["deploy/grafana/holdfast.json"]).await;
}

#[test]
fn a_pod_gets_twice_the_drain_grace_and_what_comes_before() {
    let worker = documents("deploy/kubernetes/worker.yaml").swap_remove(1);
    let pod = &worker["spec"]["template"]["spec"];
    let before = &pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"];
    let needed = before.as_u64().expect("a number") + 2 * default_of("drain-grace-seconds");
    assert_eq!(pod["terminationGracePeriodSeconds"].as_u64(), Some(needed));
}

#[tokio::test]
async fn there_are_never_more_workers_than_partitions() {
    let help = crate::support::program::holdfast(&[], &["topology", "apply", "--help"]).await;
    let partitions = help.stdout.split("--partitions").nth(1).expect("the flag");
    let default = partitions.split("default ").nth(1).expect("its default");
    let default = default.split(|c: char| !c.is_ascii_digit()).next().expect("a number");
    let scaled = documents("deploy/kubernetes/keda.yaml").swap_remove(1);
    let most = scaled["spec"]["maxReplicaCount"].as_u64().expect("a number");
    assert_eq!(most.to_string(), default, "{}", help.stdout);
}

#[test]
fn every_setting_that_is_set_there_exists() {
    let mut known: Vec<String> = Vec::new();
    for about in settings() {
        known.extend(about.file_variable());
        known.push(about.variable.to_owned());
    }
    let mut named = 0;
    for file in ["kubernetes/worker.yaml", "kubernetes/setup.yaml", "systemd/worker.env"] {
        let text = read(&format!("deploy/{file}"));
        for word in text.split(|c: char| !c.is_ascii_uppercase() && c != '_') {
            if word.contains('_') && word.len() > 3 {
                assert!(known.iter().any(|name| name == word), "{file}: {word}");
                named += 1;
            }
        }
    }
    assert!(named >= 8, "{named}");
}
