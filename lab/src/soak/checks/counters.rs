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
pub fn compared(counted: &Counted, happened: &Happened) -> Check {
    let mut check = Check::new("every counter that Prometheus scraped equals the history");
    for (series, all) in happened {
        let counted = counted.get(series).copied().unwrap_or_default();
        check
            .that(counted == *all, || format!("{series}: {counted} counted, {all} in the history"));
    }
    let decided = |series: &&String| !is_undecided(series);
    for series in counted.keys().filter(decided) {
        check.that(happened.contains_key(series), || format!("{series}: not in the history"));
    }
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

    fn check(counted: &[(&str, u64)]) -> bool {
        let counted =
            counted.iter().map(|(series, count)| ((*series).to_owned(), *count)).collect();
        compared(&counted, &Happened::from([("a".to_owned(), 3)])).holds()
    }

    #[test]
    fn each_counter_has_to_be_equal() {
        assert!(check(&[("a", 3)]));
        assert!(!check(&[]));
        assert!(!check(&[("a", 2)]));
        assert!(!check(&[("a", 4)]));
        assert!(!check(&[("a", 3), ("b", 1)]), "it did not happen");
        assert!(check(&[("a", 3), ("x kind=request outcome=rate_limited", 1)]));
    }
}
