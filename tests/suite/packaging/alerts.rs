//! Prometheus's rules.

use std::collections::BTreeSet;

use serde_yaml_ng::Value;

use super::{documents, read, run};
use crate::support::engines;

const RULES: &str = "deploy/prometheus/holdfast.rules.yml";
const TESTS: &str = "deploy/prometheus/holdfast.rules.test.yml";

fn promtool() -> String {
    engines::variable("HOLDFAST_PROMTOOL")
}

/// Every alert.
fn alerts() -> Vec<Value> {
    let rules = documents(RULES).swap_remove(0);
    let groups = rules["groups"].as_sequence().expect("groups").clone();
    let of_group = |group: &Value| group["rules"].as_sequence().expect("rules").clone();
    groups.iter().flat_map(of_group).collect()
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("no {what}"))
}

#[tokio::test]
async fn prometheus_takes_the_rules_and_its_configuration() {
    for (kind, file) in [("rules", RULES), ("config", "deploy/prometheus/prometheus.yml")] {
        let run = run(&promtool(), &["check", kind, file]).await;
        assert_eq!(run.code, 0, "{run:?}");
    }
}

#[tokio::test]
async fn alerts_fire_when_they_should_and_only_then() {
    let run = run(&promtool(), &["test", "rules", TESTS]).await;
    assert_eq!(run.code, 0, "{run:?}");
    let tests = read(TESTS);
    for alert in alerts() {
        let name = text(&alert["alert"], "name");
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test");
    }
}

#[test]
fn an_alert_says_what_to_do_and_where_more_is_said() {
    let runbook = read("docs/operations.md");
    let headings = runbook.lines().filter(|line| line.starts_with('#'));
    let anchors: BTreeSet<String> = headings.map(crate::house::anchor).collect();
    for alert in alerts() {
        let name = text(&alert["alert"], "name");
        for said in ["summary", "action"] {
            assert!(text(&alert["annotations"][said], said).len() > 20, "{name}: {said}");
        }
        let url = text(&alert["annotations"]["runbook_url"], "runbook");
        let anchor = url.strip_prefix("docs/operations.md#").expect(url);
        assert!(anchors.contains(anchor), "{name}: {url} names no heading");
        assert!(runbook.contains(&format!("`{name}`")), "{name}: the runbook does not name it");
    }
}
