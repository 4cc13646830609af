//! Figures of the whole installation are exported by one worker at a time.

use std::net::SocketAddr;

use holdfast::worker::metric_list::{ALL, Scope};

use crate::support::facts;
use crate::support::http::{endpoint, get, until_ready};
use crate::support::stack::Stack;

/// How many of the installation's metrics a worker exports.
async fn exported(address: SocketAddr) -> usize {
    let text = get(address, "/metrics").await.body;
    let shared = ALL.iter().filter(|metric| metric.scope == Scope::Installation);
    shared.filter(|metric| text.contains(&format!("# TYPE {} ", metric.name))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_exports_the_figures_of_all() {
    let stack = Stack::with_partitions(2).await;
    let all = ALL.iter().filter(|metric| metric.scope == Scope::Installation).count();
    // One without an endpoint is none that could.
    let _deaf = stack.worker();
    let mut workers = [stack.worker_to_ask(&[]), stack.worker_to_ask(&[])];
    let addresses = [endpoint(&workers[0]).await, endpoint(&workers[1]).await];
    for address in addresses {
        until_ready(address).await;
    }
    let mut first = 0;
    facts::until("one exports them", async || {
        let counts = [exported(addresses[0]).await, exported(addresses[1]).await];
        first = usize::from(counts[1] == all);
        counts == [all, 0] || counts == [0, all]
    })
    .await;
    let text = get(addresses[first], "/metrics").await.body;
    assert!(text.contains("holdfast_workers 3"), "{text}");
    assert!(text.contains("holdfast_backlog_messages{partition=\"1\"} 0"), "{text}");
    workers[first].kill();
    let other = addresses[1 - first];
    facts::until("the other takes over", async || exported(other).await == all).await;
    stack.finish().await;
}
