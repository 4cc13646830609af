//! The text of `/metrics`: what is counted, what can be read off at once, and, from one worker at a time, the
//! installation's figures.

use std::time::Instant;

use strum::VariantArray;

use super::context::Context;
use super::health::check::Check;
use super::health::report::ready;
use super::metrics::labels::{PoolName, PoolState};
use crate::store::pool::Pool;

/// Asks no engine.
pub fn text(context: &Context) -> String {
    let metrics = &context.metrics;
    metrics.partitions.set(context.partitions.owned() as f64);
    for (check, seen) in Check::VARIANTS.iter().zip(ready(context).checks) {
        metrics.ready.of(*check).set(f64::from(u8::from(seen.ok)));
    }
    read_pool(context, PoolName::Decisions, &context.pool);
    read_pool(context, PoolName::Queries, &context.queries.pool);
    metrics.tasks_died.absolute(context.tasks.died());
    metrics.log_lines_lost.absolute((context.settings.log_lines_lost)());
    let mut text = metrics.render();
    if context.leads.now() {
        text.push_str(&context.figures.text(Instant::now()));
    }
    text
}

fn read_pool(context: &Context, name: PoolName, pool: &Pool) {
    let (status, metrics) = (pool.status(), &context.metrics);
    let used = status.size.saturating_sub(status.available);
    metrics.pool.of(name, PoolState::Used).set(used as f64);
    metrics.pool.of(name, PoolState::Idle).set(status.available as f64);
    metrics.pool_max.of(name).set(status.max_size as f64);
    metrics.pool_waiting.of(name).set(status.waiting as f64);
}
