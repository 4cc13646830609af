//! A pause is on purpose: the worker is ready and says it, and the installation's figures have it.

use serde_json::json;

use crate::support::facts;
use crate::support::http::{endpoint, get, until_ready};
use crate::support::stack::Stack;

/// The value of a metric without labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")))?;
    Some(line.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_and_metrics_know_of_pauses() {
    let stack = Stack::with_partitions(2).await;
    let worker = stack.worker_to_ask(&[]);
    let address = endpoint(&worker).await;
    until_ready(address).await;
    assert_eq!(get(address, "/ready").await.json()["paused"], json!([]));
    stack.operate(&[], "pause --partition 1 --why disks", 0).await;
    stack.operate(&[], "pause --why everything", 0).await;
    facts::until("it says what is paused", async || {
        get(address, "/ready").await.json()["paused"].as_array().expect("a list").len() == 2
    })
    .await;
    let ready = get(address, "/ready").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    let paused = ready.json()["paused"].clone();
    for (index, (partition, why)) in
        [(json!(null), "everything"), (json!(1), "disks")].iter().enumerate()
    {
        assert_eq!((&paused[index]["partition"], &paused[index]["why"]), (partition, &json!(why)));
        assert!(paused[index]["since"].as_str().expect("a time").ends_with('Z'), "{paused}");
    }
    facts::until("the figures have both", async || {
        let text = get(address, "/metrics").await.body;
        value(&text, "holdfast_pauses") == Some(2.0)
            && value(&text, "holdfast_pause_seconds").is_some_and(|age| age > 0.0)
    })
    .await;
    stack.operate(&[], "resume --why done", 0).await;
    stack.operate(&[], "resume --partition 1 --why done", 0).await;
    facts::until("nothing is paused", async || {
        let text = get(address, "/metrics").await.body;
        get(address, "/ready").await.json()["paused"] == json!([])
            && value(&text, "holdfast_pauses") == Some(0.0)
            && value(&text, "holdfast_pause_seconds") == Some(0.0)
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filed_letters_are_counted_while_they_are_open() {
    let stack = Stack::new().await;
    let letter =
        "insert into dead_letters (id, reason, exact, routing_key, body, died_at, state, closed_at)
        select gen_random_uuid(), 'malformed', true, 'x', '', clock_timestamp(), state,
            case state when 'discarded' then clock_timestamp() end
        from unnest(array['open', 'open', 'discarded']) as state";
    assert_eq!(stack.execute(letter, &[]).await, 3);
    let worker = stack.worker_to_ask(&[]);
    let address = endpoint(&worker).await;
    facts::until("both open ones are counted", async || {
        let text = get(address, "/metrics").await.body;
        value(&text, "holdfast_filed_dead_letters") == Some(2.0)
    })
    .await;
    stack.finish().await;
}
