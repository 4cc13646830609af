//! Checks that the workers' counters say what the history says.

use std::collections::BTreeMap;

use super::Check;
use crate::prometheus::Counted;

/// Metrics that are compared.
pub const COMPARED: [&str; 4] = [
    "holdfast_commands_total",
    "holdfast_settlements_total",
    "holdfast_settlement_lateness_seconds_count",
    "holdfast_charges_total",
];

/// What the history has, by the series that counts it.
pub type Happened = BTreeMap<String, u64>;

/// Both ways: nothing is missing, and nothing is counted that did not happen.
pub fn equal(counted: &Counted, happened: &Happened) -> Check {
    let name = "every counter that Prometheus scraped equals the history";
    compared(name, counted, happened, |counted, all| counted == all)
}

/// For runs in which workers are killed, with what they counted since their last scrape: nothing is counted that
/// did not happen.
pub fn bounded(counted: &Counted, happened: &Happened) -> Check {
    let name = "no counter that Prometheus scraped exceeds the history";
    compared(name, counted, happened, |counted, all| counted <= all)
}

fn compared(
    name: &'static str,
    counted: &Counted,
    happened: &Happened,
    agree: fn(u64, u64) -> bool,
) -> Check {
    let mut check = Check::new(name);
    for (series, &all) in happened {
        let counted = counted.get(series).copied().unwrap_or_default();
        check.that(agree(counted, all), || {
            format!("{series}: {counted} counted, {all} in the history")
        });
    }
    let decided = |series: &&String| !is_undecided(series);
    for series in counted.keys().filter(decided) {
        check.that(happened.contains_key(series), || format!("{series}: not in the history"));
    }
    // Otherwise an empty list would pass.
    let any = counted.keys().any(|series| happened.contains_key(series));
    check.that(any, || "nothing that happened was counted".to_owned());
    check
}

/// Refusals without a decision are not in the history.
fn is_undecided(series: &str) -> bool {
    use holdfast::domain::refusal::Code;
    let outcome = series.split(" outcome=").nth(1);
    outcome.is_some_and(|outcome| {
        Code::ALL.iter().any(|code| code.as_str() == outcome && !code.is_stored())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(by: fn(&Counted, &Happened) -> Check, counted: &[(&str, u64)]) -> bool {
        let counted =
            counted.iter().map(|(series, count)| ((*series).to_owned(), *count)).collect();
        by(&counted, &Happened::from([("a".to_owned(), 3)])).holds()
    }

    #[test]
    fn each_counter_has_to_be_equal() {
        assert!(check(equal, &[("a", 3)]));
        assert!(!check(equal, &[("a", 2)]));
        for by in [equal, bounded] {
            assert!(!check(by, &[]));
            assert!(!check(by, &[("a", 4)]));
            assert!(!check(by, &[("a", 3), ("b", 1)]), "it did not happen");
            assert!(check(by, &[("a", 3), ("x kind=request outcome=rate_limited", 1)]));
        }
    }

    #[test]
    fn what_a_killed_worker_had_counted_may_be_missing() {
        assert!(check(bounded, &[("a", 2)]));
        assert!(check(bounded, &[("a", 3)]));
    }
}
