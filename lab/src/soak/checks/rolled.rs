//! Checks of a deploy.

use super::Check;
use crate::rolling::{DRAIN_GRACE, Rolled};

pub fn rolled(rolled: &Rolled) -> Check {
    let mut check = Check::new("the schema changed under load, and workers drained in time");
    check.that(!rolled.steps.is_empty(), || "no step was applied".to_owned());
    for took in &rolled.drains {
        let limit = DRAIN_GRACE.as_secs_f64();
        check.that(*took <= DRAIN_GRACE, || {
            format!("a worker took {:.1} s to stop, of {limit:.0} s", took.as_secs_f64())
        });
    }
    check
}
