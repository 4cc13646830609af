//! Dashboards and rules ask for metrics that workers have, by labels that these have.

use std::collections::BTreeMap;

use holdfast::worker::metric_list::{ALL, Kind, Metric};

use super::read;

/// What asks for metrics.
const FILES: [&str; 3] = [
    "deploy/grafana/holdfast.json",
    "deploy/prometheus/holdfast.rules.yml",
    "deploy/prometheus/holdfast.rules.test.yml",
];

/// Series by name: a histogram has three.
fn series() -> BTreeMap<String, &'static Metric> {
    let mut series = BTreeMap::new();
    for metric in ALL {
        match metric.kind {
            Kind::Histogram => {
                for end in ["_bucket", "_sum", "_count"] {
                    series.insert(format!("{}{end}", metric.name), *metric);
                }
            }
            Kind::Counter | Kind::Gauge => {
                series.insert(metric.name.to_owned(), *metric);
            }
        }
    }
    series
}

/// Names of metrics in a text, each with what follows it.
fn asked(text: &str) -> Vec<(&str, &str)> {
    let starts = text.match_indices("holdfast_").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '/')
    });
    starts
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            rest.split_at(end.unwrap_or(rest.len()))
        })
        .collect()
}

/// The labels that a selector in braces names, each with what its value must match.
fn selected(rest: &str) -> Vec<(&str, String)> {
    let Some(inside) = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()) else {
        return Vec::new();
    };
    let parts = inside.split(", ").filter_map(|part| {
        let at = part.find(['=', '!'])?;
        let quoted = |c: char| ['"', '\\'].contains(&c);
        let value = part[at..].trim_start_matches(['=', '!', '~']).trim_matches(quoted);
        Some((&part[..at], value.to_owned()))
    });
    parts.collect()
}

#[test]
fn dashboards_and_rules_ask_for_what_there_is() {
    let series = series();
    let mut found = std::collections::BTreeSet::new();
    for file in FILES {
        let text = read(file);
        for (name, rest) in asked(&text) {
            let metric = series.get(name).unwrap_or_else(|| panic!("{file}: no metric {name}"));
            found.insert(metric.name);
            for (label, values) in selected(rest) {
                if ["instance", "job", "le"].contains(&label) {
                    continue;
                }
                let known = metric.labels.iter().find(|known| known.name == label);
                let known = known.unwrap_or_else(|| panic!("{file}: {name} has no {label}"));
                let Some(words) = known.words else { continue };
                for value in values.split('|') {
                    assert!(words().contains(&value), "{file}: {name} has no {label} {value:?}");
                }
            }
        }
    }
    for metric in ALL {
        assert!(found.contains(metric.name), "no panel and no alert shows {}", metric.name);
    }
}

#[test]
fn names_and_selectors_are_found_in_queries() {
    let text = r#"sum(rate(holdfast_a_total{kind="x", outcome!~\"y|z\"}[5m])) / other_holdfast_b"#;
    let found = asked(text);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "holdfast_a_total");
    let expected = vec![("kind", "x".to_owned()), ("outcome", "y|z".to_owned())];
    assert_eq!(selected(found[0].1), expected);
}
