//! Medians, their ratios, and the targets.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::chart;
use crate::cost::Cost;
use crate::machine::Setting;
use crate::scenarios::Findings;
use crate::statements;

/// Least plausible rates of the baselines on two processors. Slower ones would flatter the ratios.
const BASELINES: [(&str, f64); 2] = [("echo", 5_000.0), ("one by one", 350.0)];
const PROCESSORS: usize = 2;

/// Most statements shown for a scenario.
const STATEMENTS_SHOWN: usize = 25;

/// A target: a figure, its divisor, and the bound of the ratio.
struct Target {
    name: &'static str,
    value: &'static str,
    base: Option<&'static str>,
    bound: f64,
    /// Whether the bound is a lower or an upper one.
    least: bool,
}

const fn ratio(name: &'static str, value: &'static str, base: &'static str, bound: f64) -> Target {
    Target { name, value, base: Some(base), bound, least: true }
}

const fn at_least(name: &'static str, value: &'static str, bound: f64) -> Target {
    Target { name, value, base: None, bound, least: true }
}

const fn at_most(name: &'static str, value: &'static str, bound: f64) -> Target {
    Target { name, value, base: None, bound, least: false }
}

const TARGETS: [Target; 23] = [
    ratio("requests / echo", "requests", "echo", 0.6),
    ratio("lifecycles / echo", "lifecycles", "echo", 0.22),
    ratio("requests / one by one", "requests", "one by one", 8.0),
    ratio("hot server / requests", "hot server", "requests", 0.7),
    at_least("burst: settled and told, per second", "burst", 5_000.0),
    at_most("burst: first one, ms after the instant", "burst first ms", 1_000.0),
    at_most("burst: requests meanwhile, p99 ms", "burst requests p99 ms", 1_000.0),
    at_least("lone deadlines: earliest, ms", "lateness min ms", 0.0),
    at_most("lone deadlines: lateness p99, ms", "lateness p99 ms", 1_000.0),
    ratio("growth: filled / empty", "growth", "growth empty", 0.85),
    ratio("scale-out: 4 workers / 1", "4 partitions, 4 workers", "1 partition, 1 worker", 3.0),
    Target {
        name: "latency p99 / echo's at half load",
        value: "latency p99 ms",
        base: Some("echo p99 ms"),
        bound: 5.0,
        least: false,
    },
    Target {
        name: "beside queries: requests' p99 / alone",
        value: "beside queries: p99 ms",
        base: Some("without queries: p99 ms"),
        bound: 1.5,
        least: false,
    },
    ratio("requests: scraped / not counting", "scraped", "not counting", 0.97),
    at_most("while servers move: longest ms", "while servers move: longest ms", 5_000.0),
    at_most("while servers move: not decided", "while servers move: not decided", 0.0),
    at_most("worker memory at full load, MiB", "memory MiB", 64.0),
    // An allocator's reserve varies by a few MiB.
    at_most("worker memory, growth in the run, MiB", "memory growth MiB", 4.0),
    at_most("idle worker, % of a core", "idle % of a core", 1.0),
    Target {
        name: "flood, limited: others' p99 / calm",
        value: "flood, limited: p99 ms",
        base: Some("calm p99 ms"),
        bound: 5.0,
        least: false,
    },
    // A worker's default drain grace.
    at_most("stop at full load: longest drain, ms", "drain max ms", 20_000.0),
    at_most("as before after 30 s without database, s", "database back s", 60.0),
    at_most("as before after 30 s without broker, s", "broker back s", 60.0),
];

/// A target and its measurement.
pub struct Judged {
    pub name: &'static str,
    pub measured: f64,
    pub bound: f64,
    pub least: bool,
    pub met: bool,
}

/// All figures by name, in order of first appearance.
pub struct Report {
    quick: bool,
    pub setting: Setting,
    pub values: Vec<(&'static str, Vec<f64>)>,
    costs: Vec<(&'static str, Vec<Cost>)>,
    notes: Vec<String>,
    statements: Map<String, Value>,
    checked: usize,
}

fn push<T>(list: &mut Vec<(&'static str, Vec<T>)>, name: &'static str, value: T) {
    match list.iter_mut().find(|(known, _)| *known == name) {
        Some((_, values)) => values.push(value),
        None => list.push((name, vec![value])),
    }
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => 0.0,
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

impl Report {
    pub fn new(quick: bool, setting: Setting) -> Self {
        Self {
            quick,
            setting,
            values: Vec::new(),
            costs: Vec::new(),
            notes: Vec::new(),
            statements: Map::new(),
            checked: 0,
        }
    }

    /// Adds a scenario's findings and prints them.
    pub fn add(&mut self, scenario: &'static str, findings: Findings) {
        self.checked += 1;
        for (name, value) in findings.figures {
            eprintln!("bench:   {name} {value:.1}");
            push(&mut self.values, name, value);
        }
        for (name, cost) in findings.costs {
            push(&mut self.costs, name, cost);
        }
        for note in findings.notes {
            eprintln!("bench:   {note}");
            self.notes.push(note);
        }
        if !findings.statements.is_empty() {
            println!("{}", statements::table(&findings.statements, STATEMENTS_SHOWN));
            let list = findings.statements.iter().take(STATEMENTS_SHOWN).map(|s| {
                json!({ "statement": s.text, "calls": s.calls, "total_ms": s.total_ms,
                        "rows": s.rows, "hit_per_call": s.hit, "read_per_call": s.read,
                        "wal_bytes_per_call": s.wal })
            });
            self.statements.insert(scenario.to_owned(), list.collect());
        }
    }

    pub fn median(&self, name: &str) -> Option<f64> {
        let (_, values) = self.values.iter().find(|(known, _)| *known == name)?;
        Some(median(values.iter().copied()))
    }

    /// Medians of the processor time for each unit of work.
    pub fn costs(&self) -> Vec<(&'static str, Cost)> {
        let optional = |costs: &[Cost], of: fn(&Cost) -> Option<f64>| {
            let known: Option<Vec<f64>> = costs.iter().map(of).collect();
            known.map(median)
        };
        let of = |costs: &Vec<Cost>| Cost {
            broker: optional(costs, |cost| cost.broker),
            database: optional(costs, |cost| cost.database),
            workers: median(costs.iter().map(|cost| cost.workers)),
            load: median(costs.iter().map(|cost| cost.load)),
            busy: median(costs.iter().map(|cost| cost.busy)),
        };
        self.costs.iter().map(|(name, costs)| (*name, of(costs))).collect()
    }

    /// Why the run is void. `None` if it is valid. More than two processors must reach the bounds
    /// of two all the more.
    pub fn void(&self) -> Option<String> {
        BASELINES.into_iter().find_map(|(name, least)| {
            let median = self.median(name).filter(|median| *median < least)?;
            Some(format!(
                "{name} is {median:.0} a second, implausibly low for {PROCESSORS} processors \
                 (below {least:.0})"
            ))
        })
    }

    pub fn judged(&self) -> Vec<Judged> {
        let judge = |target: &Target| {
            let base = target.base.map_or(Some(1.0), |base| self.median(base))?;
            let measured = self.median(target.value)? / base;
            let met = match target.least {
                true => measured >= target.bound,
                false => measured <= target.bound,
            };
            let Target { name, bound, least, .. } = *target;
            Some(Judged { name, measured, bound, least, met })
        };
        TARGETS.iter().filter_map(judge).collect()
    }

    pub fn table(&self) -> String {
        let mut text = format!("{}\n\n{:<40} {:>10}  rounds\n", self.setting.line(), "", "median");
        for (name, values) in &self.values {
            let rounds: Vec<String> = values.iter().map(|value| format!("{value:.1}")).collect();
            let median = median(values.iter().copied());
            writeln!(text, "{name:<40} {median:>10.1}  {}", rounds.join(" ")).ok();
        }
        writeln!(text, "\n{:<40} {:>10} {:>12}", "target", "measured", "bound").ok();
        for judged in self.judged() {
            let sign = if judged.least { ">=" } else { "<=" };
            let verdict = if judged.met { "met" } else { "MISSED" };
            let Judged { name, measured, bound, .. } = judged;
            writeln!(text, "{name:<40} {measured:>10.2} {sign:>4} {bound:>7.2}  {verdict}").ok();
        }
        text.push_str(&self.cost_table());
        writeln!(text, "\nAfter each of {} scenarios every invariant held.", self.checked).ok();
        if let Some(why) = self.void() {
            writeln!(text, "\nVOID: {why}").ok();
        }
        text
    }

    fn cost_table(&self) -> String {
        let mut text = format!(
            "\n{:<26} {:>8} {:>9} {:>8} {:>7} {:>7} {:>7}\n",
            "processor µs per piece", "broker", "database", "workers", "load", "sum", "busy %"
        );
        let known =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        for (name, cost) in self.costs() {
            let (broker, database) = (known(cost.broker), known(cost.database));
            let Cost { workers, load, busy, .. } = cost;
            let sum = cost.sum();
            writeln!(
                text,
                "{name:<26} {broker:>8} {database:>9} {workers:>8.0} {load:>7.0} {sum:>7.0} \
                 {busy:>7.0}"
            )
            .ok();
        }
        text
    }

    pub fn json(&self, seconds: f64) -> Result<String> {
        let values: Map<String, Value> = self
            .values
            .iter()
            .map(|(name, rounds)| {
                let median = median(rounds.iter().copied());
                ((*name).to_owned(), json!({ "median": median, "rounds": rounds }))
            })
            .collect();
        let targets = self.judged().into_iter().map(|judged| {
            let bound = if judged.least { "at least" } else { "at most" };
            json!({ "name": judged.name, "measured": judged.measured, "target": judged.bound,
                    "bound": bound, "met": judged.met })
        });
        let costs = self.costs().into_iter().map(|(name, cost)| {
            let value = json!({ "broker": cost.broker, "database": cost.database,
                "workers": cost.workers, "load": cost.load, "busy_percent": cost.busy });
            (name.to_owned(), value)
        });
        let mut document = json!({
            "quick": self.quick,
            "seconds": seconds.round(),
            "void": self.void(),
            "values": values,
            "targets": targets.collect::<Vec<Value>>(),
            "processor_microseconds": costs.collect::<Map<String, Value>>(),
            "notes": self.notes,
            "scenarios_after_which_every_invariant_held": self.checked,
            "statements": self.statements,
        });
        if let (Value::Object(document), Value::Object(setting)) =
            (&mut document, self.setting.json())
        {
            document.extend(setting);
        }
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    pub fn chart(&self) -> String {
        chart::draw(self)
    }
}
