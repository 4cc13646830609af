//! Accounts of billing systems.

use holdfast::broker::connection::{Connection, Endpoint};
use holdfast::broker::topology::{BILLING_QUEUE, COMMANDS_EXCHANGE, EVENTS_EXCHANGE, reply_queue};
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, ErrorKind};
use rabbitmq_http_client::requests::UserParams;
use serde_json::Value;

use super::operator;
use crate::support::stack::Stack;
use crate::support::terminal::window;
use crate::support::{engines, facts};

/// AMQP's code for what an account may not do.
const ACCESS_REFUSED: u16 = 403;

fn refused<T>(what: &str, result: lapin::Result<T>) {
    let Err(error) = result else { panic!("{what} is allowed") };
    let ErrorKind::ProtocolError(answer) = error.kind() else { panic!("{what}: {error}") };
    assert_eq!(answer.get_id(), ACCESS_REFUSED, "{what}: {error}");
}

/// Takes a message off a queue.
async fn get(channel: &Channel, queue: &str) -> lapin::Result<Option<BasicGetMessage>> {
    channel.basic_get(queue.into(), BasicGetOptions::default()).await
}

async fn publish(biller: &Connection, exchange: &str, key: &str) -> lapin::Result<()> {
    let channel = biller.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    channel.basic_publish(exchange.into(), key.into(), options, b"{}", properties).await?.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_biller_reads_the_billing_queue_and_nothing_else() {
    let mut stack = Stack::new().await;
    let mut worker = stack.worker();
    let cam =
        stack.server("cam", &[("late_booking", &"confirm"), ("lead_seconds", &3_600i32)]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut operator = operator(&stack);
    let name = stack.named("acme");
    let added = operator.run(&format!("account add broker-billing {name}"), 0).await;
    let endpoint: Endpoint = added.stdout.trim().parse().expect("an AMQP URL");
    assert_eq!(endpoint.account(), format!("biller_{name}"));
    assert!(!added.stderr.contains(endpoint.password()), "{added:?}");

    let biller = endpoint.connect("biller").await.expect("the biller connects");
    let confirmed = terminal.accepted(&cam, window(600, 60)).await;
    let channel = biller.create_channel().await.expect("a channel");
    let billed = facts::found("a charge", async || {
        get(&channel, BILLING_QUEUE).await.expect("it may read the billing queue")
    })
    .await;
    let event: Value = serde_json::from_slice(&billed.delivery.data).expect("JSON");
    assert_eq!(event["subject"], confirmed.id.to_string());
    billed.delivery.acker.ack(BasicAckOptions::default()).await.expect("it may acknowledge");

    let open = async || biller.create_channel().await.expect("a channel");
    refused("reading replies", get(&open().await, &reply_queue(terminal.id())).await);
    refused("publishing a command", publish(&biller, COMMANDS_EXCHANGE, "a.request").await);
    refused(
        "publishing an event",
        publish(&biller, EVENTS_EXCHANGE, "reservation.confirmed.a").await,
    );
    refused("publishing to a queue", publish(&biller, "", BILLING_QUEUE).await);
    let (options, none) = (QueueDeclareOptions::default(), FieldTable::default);
    refused("declaring", open().await.queue_declare("mine".into(), options, none()).await);
    let (queue, events) = (BILLING_QUEUE.into(), EVENTS_EXCHANGE.into());
    let channel = open().await;
    let bound = channel.queue_bind(queue, events, "#".into(), QueueBindOptions::default(), none());
    refused("binding", bound.await);
    refused("deleting", open().await.queue_delete(BILLING_QUEUE.into(), Default::default()).await);
    biller.close().await.expect("the connection closes");

    // A second time, and what was interrupted before it had any rights.
    operator.run(&format!("account add broker-billing {name}"), 4).await;
    let half = stack.named("half");
    let account = format!("biller_{half}");
    engines::management().create_user(&UserParams::new(&account, "", "")).await.expect("created");
    let completed = operator.run(&format!("account add broker-billing {half} --json"), 0).await;
    let completed: Value = serde_json::from_str(&completed.stdout).expect("JSON");
    let url = completed["amqp_url"].as_str().expect("a URL");
    let again: Endpoint = url.parse().expect("an AMQP URL");
    again.connect("biller").await.expect("the account works").close().await.ok();
    operator.run("account add broker-billing Acme", 2).await;

    for endpoint in [&endpoint, &again] {
        operator.mask(endpoint.password(), "<password>");
        engines::drop_account(endpoint.account()).await;
    }
    let host = engines::AMQP_URL.host_str().expect("AMQP URLs have one");
    let port = engines::AMQP_URL.port().unwrap_or(5672);
    operator.mask(&format!("@{host}:{port}/"), "@<broker>/");
    operator.check("account_billing");
    assert!(worker.stop().await.success());
    stack.finish().await;
}
