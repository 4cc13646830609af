//! Faults of others who use the same broker.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast::broker::topology::EVENTS_EXCHANGE;
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::Instant;

use super::Chaos;
use crate::operator::{self, Ended};
use crate::pick::Pick;
use crate::workers::Environment;

/// Bound on a command, or a worker, that has to be refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

/// Binds a queue for all events that takes one and refuses the others.
pub async fn full_subscriber(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let amqp = chaos.installation.amqp().await?;
    let channel = amqp.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, arguments).await?.name().clone();
    let (exchange, all) = (EVENTS_EXCHANGE.into(), "#".into());
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.clone(), exchange, all, options, FieldTable::default()).await?;
    let duration = pick.millis(8_000, 25_000);
    chaos.hold(duration).await;
    let taken = channel.queue_delete(queue, QueueDeleteOptions::default()).await?;
    amqp.close().await?;
    ensure!(taken > 0, "there was no event");
    Ok(format!("for {:.1} s", duration.as_secs_f64()))
}

/// Lays an operator policy over all queues, which nothing of ours can outrank. `topology verify` must name it.
pub async fn broker_policy(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let (engines, vhost) = (chaos.engines()?, chaos.installation.name.as_str());
    let set = ["set_operator_policy", "--vhost", vhost, "--apply-to", "queues", POLICY, ".*"];
    engines.control(&[&set[..], &[HARMLESS]].concat()).await?;
    let named = named_by_verify(chaos).await;
    chaos.hold(pick.millis(1_000, 5_000)).await;
    engines.control(&["clear_operator_policy", "--vhost", vhost, POLICY]).await?;
    if !named? {
        chaos.setting.tally.failed("`topology verify` does not name a policy".to_owned());
    }
    Ok("an operator policy, which `topology verify` names".to_owned())
}

/// The policy's name, which nothing else contains.
const POLICY: &str = "chaos-limit";

/// More than a run ever queues, and less than the topology wants for some queue.
const HARMLESS: &str = r#"{"max-length": 900000}"#;

/// The broker's API tells of a policy some seconds after it is set.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// Whether `topology verify` names the policy in time. An error if it fails for another reason.
async fn named_by_verify(chaos: &Chaos) -> Result<bool> {
    let until = Instant::now() + TOLD_WITHIN;
    loop {
        let (environment, words) = (chaos.installation.environment()?, ["topology", "verify"]);
        let ended = operator::end_of(&chaos.program, environment, &words, REFUSED_WITHIN).await?;
        let Ended { status, printed, complaints } = ended.context("`topology verify` hangs")?;
        if (printed + &complaints).contains(POLICY) {
            return Ok(true);
        }
        if Instant::now() > until {
            // An engine that is away prevents a verdict.
            ensure!(status.success(), "verify: {status}: {complaints}");
            return Ok(false);
        }
    }
}

/// Another database on the same broker: its operator and its worker are refused.
pub async fn second_installation(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    chaos.installation.remove_second_database().await?;
    let outcome = refused(chaos).await;
    chaos.installation.remove_second_database().await?;
    outcome
}

async fn refused(chaos: &Chaos) -> Result<String> {
    let environment = chaos.installation.second_database(&chaos.program).await?;
    for words in [["topology", "apply"].as_slice(), &["worker"]] {
        refuse(chaos, environment.clone(), words).await?;
    }
    Ok("its operator and its worker are refused".to_owned())
}

async fn refuse(chaos: &Chaos, environment: Environment, words: &[&str]) -> Result<()> {
    let what = words.join(" ");
    let ended = operator::end_of(&chaos.program, environment, words, REFUSED_WITHIN).await?;
    match ended {
        Some(Ended { status, complaints, .. }) if !status.success() => {
            // It may have failed because an engine is away.
            ensure!(complaints.contains("belongs to"), "{what}: {complaints}");
            Ok(())
        }
        Some(_) => {
            chaos.setting.tally.failed(format!("{what} of another installation is not refused"));
            Ok(())
        }
        None => {
            chaos.setting.tally.failed(format!("{what} of another installation does not end"));
            Ok(())
        }
    }
}
