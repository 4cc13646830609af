//! The list of metrics: what is exported is on it, and what is on it is documented.

use std::collections::BTreeSet;

use holdfast::domain::refusal::Code;
use holdfast::worker::metric_list::{ALL, Kind, Metric, Scope};

use crate::support::facts;
use crate::support::golden;
use crate::support::http::{endpoint, get};
use crate::support::stack::Stack;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
const START: &str = "<!-- metrics -->\n";
const END: &str = "<!-- /metrics -->";

/// Labels with their values; the README has the codes of refusals.
fn labels(metric: &Metric) -> String {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let labels = metric.labels.iter().map(|label| {
        let Some(words) = label.words else { return format!("`{}`", label.name) };
        let refusals = label.name == "outcome";
        let named = words().into_iter().filter(|word| !refusals || !codes.contains(word));
        let mut named: Vec<String> = named.map(|word| format!("`{word}`")).collect();
        named.extend(refusals.then(|| "a [code](../README.md#codes)".to_owned()));
        format!("`{}`: {}", label.name, named.join(", "))
    });
    labels.collect::<Vec<_>>().join("; ")
}

fn buckets(metric: &Metric) -> String {
    let bounds: Vec<String> = metric.buckets.iter().map(f64::to_string).collect();
    match bounds.is_empty() {
        true => String::new(),
        false => format!(" Buckets end at {}.", bounds.join(", ")),
    }
}

fn table(scope: Scope) -> String {
    let mut table =
        "| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n".to_owned();
    for metric in ALL.iter().filter(|metric| metric.scope == scope) {
        let kind: &str = metric.kind.into();
        let (name, unit, labels) = (metric.name, metric.unit, labels(metric));
        let help = format!("{}{}", metric.help, buckets(metric));
        table.push_str(&format!("| `{name}` | {kind} | {unit} | {labels} | {help} |\n"));
    }
    table
}

#[test]
fn the_documentation_has_every_metric() {
    let text = std::fs::read_to_string(DOCUMENT).expect("the document");
    let (before, rest) = text.split_once(START).expect("a start");
    let (_, after) = rest.split_once(END).expect("an end");
    let (of_worker, of_all) = (table(Scope::Worker), table(Scope::Installation));
    let tables = format!("\n### Of a worker\n\n{of_worker}\n### Of the installation\n\n{of_all}\n");
    golden::check_file(DOCUMENT.as_ref(), &format!("{before}{START}{tables}{END}{after}"));
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), ALL.len(), "each is there once");
    for Metric { name, kind, unit, labels, help, buckets, .. } in ALL {
        assert!(name.starts_with("holdfast_"), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(*unit == "seconds", name.ends_with("_seconds"), "{name}: a base unit");
        assert_eq!(*kind == Kind::Histogram, !buckets.is_empty(), "{name}");
        assert!(buckets.is_sorted_by(|a, b| a < b), "{name}");
        assert!(help.ends_with('.'), "{name}");
        for label in *labels {
            let is_id = ["id", "terminal", "user", "server", "reservation", "worker", "host"];
            assert!(!is_id.contains(&label.name), "{name}: {}", label.name);
        }
    }
}

/// A worker exports every series from its start, so that an increase from none is seen.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_is_listed_is_exported() {
    let stack = Stack::new().await;
    let worker = stack.worker_to_ask(&[]);
    let address = endpoint(&worker).await;
    let listed: BTreeSet<String> = ALL
        .iter()
        .map(|metric| {
            let kind: &str = metric.kind.into();
            format!("{} {kind}", metric.name)
        })
        .collect();
    let mut text = String::new();
    facts::until("the figures of the installation are gathered", async || {
        text = get(address, "/metrics").await.body;
        ["holdfast_workers ", "holdfast_queue_messages{"].iter().all(|name| text.contains(name))
    })
    .await;
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let exported: BTreeSet<String> =
        typed.map(str::to_owned).filter(|line| has_series(&text, line)).collect();
    assert_eq!(exported, listed);
    for metric in ALL {
        let help = format!("# HELP {} {}", metric.name, metric.help);
        assert!(text.contains(&help), "{help}");
        for label in metric.labels {
            for word in label.words.map(|words| words()).unwrap_or_default() {
                let value = format!("{}=\"{word}\"", label.name);
                let has = |line: &str| line.starts_with(metric.name) && line.contains(&value);
                assert!(text.lines().any(has), "{} has no series with {value}", metric.name);
            }
        }
    }
    stack.finish().await;
}

/// Histograms without values have series from their first value on.
fn has_series(text: &str, typed: &str) -> bool {
    let (name, _) = typed.split_once(' ').expect("a type");
    text.lines().any(|line| line.starts_with(name))
}
