//! Medians, their ratios, and what they are held against.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

/// Below these a machine's baseline is implausibly slow, and would flatter the ratios.
const ECHO_MIN: f64 = 5_000.0;
const ONE_BY_ONE_MIN: f64 = 350.0;

/// A measured value, what it is divided by, and the target.
struct Line {
    name: &'static str,
    value: &'static str,
    base: Option<&'static str>,
    target: f64,
    /// Whether the target is a least or a most.
    least: bool,
}

const fn at_least(
    name: &'static str,
    value: &'static str,
    base: &'static str,
    target: f64,
) -> Line {
    Line { name, value, base: Some(base), target, least: true }
}

const fn at_most(name: &'static str, value: &'static str, target: f64) -> Line {
    Line { name, value, base: None, target, least: false }
}

const LINES: [Line; 17] = [
    at_least("requests / echo", "requests", "echo", 0.6),
    at_least("lifecycles / echo", "lifecycles", "echo", 0.22),
    at_least("requests / one by one", "requests", "one by one", 8.0),
    at_least("hot server / requests", "hot server", "requests", 0.7),
    Line {
        name: "burst, settled and told per second",
        value: "burst",
        base: None,
        target: 5_000.0,
        least: true,
    },
    at_most("burst, first settled, ms", "burst first ms", 1_000.0),
    at_most("burst, requests meanwhile p99, ms", "burst requests p99 ms", 1_000.0),
    Line {
        name: "lone deadlines, earliest, ms",
        value: "lateness min ms",
        base: None,
        target: 0.0,
        least: true,
    },
    at_most("lone deadlines, p99, ms", "lateness p99 ms", 1_000.0),
    at_least("growth: many stored / empty", "growth", "growth empty", 0.85),
    at_least("scale-out: 4 workers / 1", "4 partitions, 4 workers", "1 partition, 1 worker", 3.0),
    at_least("scale-out: 2 workers / 1", "2 partitions, 2 workers", "1 partition, 1 worker", 1.5),
    Line {
        name: "latency p99 / echo's",
        value: "latency p99 ms",
        base: Some("echo p99 ms"),
        target: 5.0,
        least: false,
    },
    at_most("latency p50, ms", "latency p50 ms", 100.0),
    at_most("worker memory at full load, MiB", "memory MiB", 64.0),
    at_most("worker memory growth, MiB", "memory growth MiB", 8.0),
    at_most("idle worker, % of a core", "idle % of a core", 1.0),
];

/// All values, by name, in the order in which the names came up.
pub struct Report {
    quick: bool,
    values: Vec<(&'static str, Vec<f64>)>,
}

impl Report {
    pub fn new(quick: bool) -> Self {
        Self { quick, values: Vec::new() }
    }

    pub fn add(&mut self, name: &'static str, value: f64) {
        match self.values.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => self.values.push((name, vec![value])),
        }
    }

    pub fn median(&self, name: &str) -> Option<f64> {
        let mut values = self.values.iter().find(|(known, _)| *known == name)?.1.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        Some(match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        })
    }

    /// Why the run says nothing; `None` if it does.
    fn void(&self) -> Option<String> {
        let bounds = [("echo", ECHO_MIN), ("one by one", ONE_BY_ONE_MIN)];
        bounds.into_iter().find_map(|(name, least)| {
            let median = self.median(name).filter(|median| *median < least)?;
            Some(format!("{name} is {median:.0} a second, implausibly low (below {least:.0})"))
        })
    }

    /// Whether the baselines are plausible; says so if not.
    pub fn is_plausible(&self) -> bool {
        if let Some(why) = self.void() {
            println!("VOID: {why}");
        }
        self.void().is_none()
    }

    /// Name, measured, target, whether it is met.
    fn judged(&self) -> Vec<(&'static str, f64, f64, bool, bool)> {
        LINES
            .iter()
            .filter_map(|line| {
                let base = line.base.map_or(Some(1.0), |base| self.median(base))?;
                let measured = self.median(line.value)? / base;
                let met = (measured >= line.target) == line.least || measured == line.target;
                Some((line.name, measured, line.target, line.least, met))
            })
            .collect()
    }

    pub fn table(&self) -> String {
        let mut text = format!("{:<38} {:>12} {:>8}\n", "median of", "value", "rounds");
        for (name, values) in &self.values {
            let median = self.median(name).unwrap_or_default();
            writeln!(text, "{name:<38} {median:>12.1} {:>8}", values.len()).ok();
        }
        writeln!(text, "\n{:<38} {:>12} {:>12}", "", "measured", "target").ok();
        for (name, measured, target, least, met) in self.judged() {
            let sign = if least { ">=" } else { "<=" };
            let verdict = if met { "met" } else { "MISSED" };
            writeln!(text, "{name:<38} {measured:>12.2} {sign:>4} {target:>7.2}  {verdict}").ok();
        }
        text
    }

    pub fn json(&self) -> Result<String> {
        let values: serde_json::Map<String, Value> =
            self.values.iter().map(|(name, values)| ((*name).to_owned(), json!(values))).collect();
        let judged: Vec<Value> = self
            .judged()
            .into_iter()
            .map(|(name, measured, target, least, met)| {
                json!({ "name": name, "measured": measured, "target": target,
                        "bound": if least { "at least" } else { "at most" }, "met": met })
            })
            .collect();
        let document = json!({
            "quick": self.quick,
            "void": self.void(),
            "processors": std::thread::available_parallelism().map_or(0, usize::from),
            "values": values,
            "targets": judged,
        });
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    /// Rates as bars; every round is a mark.
    pub fn chart(&self) -> String {
        let is_rate =
            |name: &str| !name.contains("ms") && !name.contains("MiB") && !name.contains('%');
        let rates: Vec<_> = self.values.iter().filter(|(name, _)| is_rate(name)).collect();
        let most = rates.iter().flat_map(|(_, values)| values).copied().fold(1.0, f64::max);
        let height = 30 * rates.len() + 50;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"white\"/>\n<text x=\"10\" y=\"22\" font-size=\"15\">per second: median (bar) \
             and every round (marks)</text>\n"
        );
        for (index, (name, values)) in rates.iter().enumerate() {
            let (y, median) = (40 + 30 * index, self.median(name).unwrap_or_default());
            let x = |value: f64| 200.0 + 460.0 * value / most;
            writeln!(svg, "<text x=\"10\" y=\"{}\">{name}</text>", y + 15).ok();
            let width = x(median) - 200.0;
            writeln!(
                svg,
                "<rect x=\"200\" y=\"{y}\" width=\"{width:.1}\" height=\"20\" fill=\"#4a7fb5\"/>"
            )
            .ok();
            for value in values {
                writeln!(svg, "<rect x=\"{:.1}\" y=\"{y}\" width=\"2\" height=\"20\"/>", x(*value))
                    .ok();
            }
            writeln!(svg, "<text x=\"{:.1}\" y=\"{}\">{median:.0}</text>", x(median) + 8.0, y + 15)
                .ok();
        }
        svg + "</svg>\n"
    }
}
