//! `holdfast doctor`: every planted fault is found, its remedy is named, and the check is green after the
//! remedy.

mod accounts;
mod alarms;
mod around;
mod broker;
mod database;
mod paused;
mod probes;
mod schema;
mod work;

use serde_json::Value;

use crate::support::facts;
use crate::support::program::holdfast;
use crate::support::stack::Stack;

/// What `holdfast doctor` tells, by check.
pub struct Report(Value);

impl Report {
    fn one(&self, check: &str) -> &Value {
        let checks = self.0["checks"].as_array().expect("checks");
        let found = checks.iter().find(|one| one["check"] == check);
        found.unwrap_or_else(|| panic!("there is no check {check}: {}", self.0))
    }

    pub fn level(&self, check: &str) -> &str {
        self.one(check)["level"].as_str().expect("a level")
    }

    /// What a check tells: what was seen, and what to do.
    pub fn told(&self, check: &str) -> String {
        let one = self.one(check);
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        format!("{}\n{}", text("seen"), text("remedy"))
    }

    /// Checks of a level.
    pub fn of(&self, level: &str) -> Vec<&str> {
        let checks = self.0["checks"].as_array().expect("checks").iter();
        let found = checks.filter(|one| one["level"] == level);
        found.map(|one| one["check"].as_str().expect("a name")).collect()
    }

    pub fn is(&self, check: &str, level: &str, texts: &[&str]) -> bool {
        let told = self.told(check);
        self.level(check) == level && texts.iter().all(|text| told.contains(text))
    }
}

/// Runs it, and sees that it exits with 3 if and only if something is red.
pub async fn examined(environment: &[(&str, &str)], arguments: &[&str]) -> Report {
    let run = holdfast(environment, &[&["doctor", "--json"], arguments].concat()).await;
    let value: Value =
        serde_json::from_str(run.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    let report = Report(value);
    let red = report.of("red");
    assert_eq!(run.code, if red.is_empty() { 0 } else { 3 }, "{run:?}");
    for check in red {
        assert!(run.stderr.contains(check), "{check} is not named: {run:?}");
    }
    for one in report.0["checks"].as_array().expect("checks") {
        for field in ["check", "looked_at", "seen"] {
            assert!(!one[field].as_str().expect("a text").is_empty(), "{one}");
        }
        let remedy = one["remedy"].as_str().unwrap_or_default();
        assert_eq!(remedy.is_empty(), one["level"] == "green", "{one}");
    }
    report
}

/// Looks, without probes, with other environment than an operator's.
pub async fn looked_with(stack: &Stack, more: &[(&str, &str)]) -> Report {
    let own = stack.operator_environment();
    let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let environment: Vec<(&str, &str)> = own.chain(more.iter().copied()).collect();
    examined(&environment, &["--no-probe"]).await
}

/// Looks, without probes.
pub async fn looked(stack: &Stack) -> Report {
    looked_with(stack, &[]).await
}

/// Looks until a check is of a level and tells these texts: the broker's statistics are some seconds behind.
pub async fn until(stack: &Stack, check: &str, level: &str, texts: &[&str]) {
    let last = std::sync::Mutex::new(String::new());
    let what = format!("{check} is {level} and tells {texts:?}");
    let looking = facts::until(&what, async || {
        let report = looked(stack).await;
        let told = format!("{}: {}", report.level(check), report.told(check));
        println!("{check}: {told}");
        *last.lock().expect("no panics") = told;
        report.is(check, level, texts)
    });
    looking.await;
}

/// Plants a fault, which is found and whose remedy is named; applies it, and looks again.
pub async fn found_and_healed(
    stack: &Stack,
    check: &str,
    level: &str,
    texts: &[&str],
    remedy: impl AsyncFnOnce(),
) {
    until(stack, check, level, texts).await;
    remedy().await;
    until(stack, check, "green", &[]).await;
}
