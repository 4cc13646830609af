//! Policies over Holdfast's queues and exchanges: what they change, and one that keeps others off.
//!
//! The broker merges policies with arguments, and redeclaring does not notice. See
//! `docs/decisions/0029-policies-are-compared.md`.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::connection::Endpoint;
use super::declared::as_json;
use super::effective::differences;
use super::listing::list;
use super::management::{Address, Management};
use super::reply_queues;
use super::topology::{BILLING_LEN_MAX, EVENTS_EXCHANGE, Topology, reply_queue};
use crate::message::shape::Shape;

/// What stands for policies where there are none: something was declared otherwise.
pub const NO_POLICY: &str = "its declaration";

/// Our own policy. Of all policies only the one with the highest priority applies to a queue.
const POLICY: &str = "holdfast";

/// Higher than people usually give. Who wants a policy over our queues gives it a higher one.
const POLICY_PRIORITY: i32 = 1_000;

/// All that is ours, but for the events' exchange: that is for others to use.
const POLICY_PATTERN: &str = r"^(?!reservation\.events\.)(reservation|billing\.entries)\.";

/// The API knows of a policy, and of a new queue's, within five seconds (RabbitMQ 3.10).
const STATISTICS_TIMEOUT: Duration = Duration::from_secs(15);
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Something of ours that does not behave as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// `queue` or `exchange`, and its name.
    pub object: String,
    /// The key of a policy, such as `message-ttl`.
    pub key: String,
    /// Its effective value; `None`: none, or one that cannot be read.
    pub value: Option<Value>,
    /// The value that Holdfast relies on; `None`: none.
    pub expected: Option<Value>,
    /// What applies to it: `policy NAME`, `operator policy NAME`, or both.
    pub policies: String,
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |value: &Option<Value>| match value {
            Some(value) => value.to_string(),
            None => "none".to_owned(),
        };
        let Self { object, key, value, expected, policies } = self;
        write!(f, "{object}: {key} is {}, not {}; by {policies}", text(value), text(expected))
    }
}

/// What became of setting our policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Set.
    Set,
    /// The account may set no policies.
    Forbidden,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    arguments: Map<String, Value>,
    policy: Option<String>,
    operator_policy: Option<String>,
    /// Absent until the broker has statistics of the queue.
    effective_policy_definition: Option<Value>,
}

#[derive(Deserialize)]
struct Exchange {
    name: String,
    policy: Option<String>,
    arguments: Map<String, Value>,
}

#[derive(Deserialize)]
struct Policy {
    definition: Map<String, Value>,
}

/// Reads and sets policies of one vhost.
pub struct Policies {
    management: Management,
    vhost: String,
}

impl Policies {
    /// Uses the AMQP URL's account, unless the `management` address has one.
    pub fn new(management: &Address, broker: &Endpoint) -> Result<Self> {
        let management = Management::new(management, (broker.account(), broker.password()))?;
        Ok(Self { management, vhost: broker.vhost().to_owned() })
    }

    /// Sets our policy, which changes nothing and replaces others of lower priority; operator policies
    /// apply all the same.
    pub async fn protect(&self) -> Result<Protection> {
        let policy = json!({
            "pattern": POLICY_PATTERN,
            // A policy needs a key. No queue of ours may be longer, so it changes nothing.
            "definition": { "max-length": BILLING_LEN_MAX },
            "priority": POLICY_PRIORITY,
            "apply-to": "all",
        });
        match self.management.put(&["policies", &self.vhost, POLICY], &policy).await {
            Err(error) if error.is_forbidden() => Ok(Protection::Forbidden),
            put => put.map(|()| Protection::Set).context("setting the policy"),
        }
    }

    /// Deletes our policy, if it is there and the account may.
    pub async fn unprotect(&self) -> Result<()> {
        match self.management.delete(&["policies", &self.vhost, POLICY]).await {
            Err(error) if error.is_forbidden() || error.is_not_found() => Ok(()),
            deleted => deleted.context("deleting the policy"),
        }
    }

    /// What deviates, as far as the API knows; it is up to five seconds behind.
    pub async fn deviations(&self, shape: Shape, terminals: &[String]) -> Result<Vec<Deviation>> {
        self.look(shape, terminals, |_| true).await
    }

    /// The same after a change of policies: looks until nothing deviates, or for some seconds.
    pub async fn settled_deviations(
        &self,
        shape: Shape,
        terminals: &[String],
    ) -> Result<Vec<Deviation>> {
        self.look(shape, terminals, Vec::is_empty).await
    }

    /// Looks until all queues are known and `enough` says so, or for some seconds.
    async fn look(
        &self,
        shape: Shape,
        terminals: &[String],
        enough: fn(&Vec<Deviation>) -> bool,
    ) -> Result<Vec<Deviation>> {
        let until = Instant::now() + STATISTICS_TIMEOUT;
        let mut deviations = self.of_exchanges(shape).await?;
        loop {
            let (mut of_queues, unknown) = self.of_queues(shape, terminals).await?;
            let late = Instant::now() > until;
            if late || unknown.is_none() && enough(&of_queues) {
                if let Some(queue) = unknown {
                    bail!(
                        "queue {queue}: the management API does not tell its policies; is it up, and \
                         does the broker collect statistics?"
                    );
                }
                deviations.append(&mut of_queues);
                return Ok(deviations);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Also the first queue whose policies are not known.
    async fn of_queues(
        &self,
        shape: Shape,
        terminals: &[String],
    ) -> Result<(Vec<Deviation>, Option<String>)> {
        let mut wanted: HashMap<String, Map<String, Value>> = Topology::of(shape)
            .queues
            .into_iter()
            .map(|queue| (queue.name, as_json(&queue.arguments)))
            .collect();
        let of_replies = reply_queues::arguments_as_json();
        let of_replies = of_replies.as_object().expect("arguments are an object");
        wanted.extend(terminals.iter().map(|id| (reply_queue(id), of_replies.clone())));
        let columns = "name,arguments,policy,operator_policy,effective_policy_definition";
        let (mut deviations, mut unknown) = (Vec::new(), None);
        for queue in list::<Queue>(&self.management, "queues", &self.vhost, columns).await? {
            let Some(wanted) = wanted.get(&queue.name) else { continue };
            let Some(policy) = &queue.effective_policy_definition else {
                unknown.get_or_insert(queue.name);
                continue;
            };
            // Without a policy an empty list or object.
            let none = Map::new();
            let policy = policy.as_object().unwrap_or(&none);
            let policies = named(queue.policy.as_deref(), queue.operator_policy.as_deref());
            deviations.extend(differences(wanted, &queue.arguments, policy).into_iter().map(
                |found| Deviation {
                    object: format!("queue {}", queue.name),
                    key: found.key.to_owned(),
                    value: found.value,
                    expected: found.expected,
                    policies: policies.clone(),
                },
            ));
        }
        Ok((deviations, unknown))
    }

    /// An alternate exchange swallows what must come back as unroutable. An argument beats a policy.
    async fn of_exchanges(&self, shape: Shape) -> Result<Vec<Deviation>> {
        const KEY: &str = "alternate-exchange";
        let wanted: HashMap<String, Option<Value>> = Topology::of(shape)
            .exchanges
            .into_iter()
            .filter(|exchange| exchange.name != EVENTS_EXCHANGE)
            .map(|exchange| {
                let mut arguments = as_json(&exchange.arguments);
                (exchange.name, arguments.remove(KEY))
            })
            .collect();
        let mut deviations = Vec::new();
        let columns = "name,policy,arguments";
        for exchange in
            list::<Exchange>(&self.management, "exchanges", &self.vhost, columns).await?
        {
            let Some(expected) = wanted.get(&exchange.name) else { continue };
            let by_policy = match &exchange.policy {
                Some(policy) => self.alternate_of(policy, KEY).await?,
                None => None,
            };
            let value = exchange.arguments.get(KEY).cloned().or(by_policy);
            if value != *expected {
                deviations.push(Deviation {
                    object: format!("exchange {}", exchange.name),
                    key: KEY.to_owned(),
                    value,
                    expected: expected.clone(),
                    policies: named(exchange.policy.as_deref(), None),
                });
            }
        }
        Ok(deviations)
    }

    async fn alternate_of(&self, policy: &str, key: &str) -> Result<Option<Value>> {
        let path = ["policies", &self.vhost, policy];
        match self.management.read::<Policy>(&path).await {
            Ok(mut policy) => Ok(policy.definition.remove(key)),
            // Deleted since, or ours, which the account may not read.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.is_forbidden() && policy == POLICY => Ok(None),
            Err(error) => Err(error).context(format!("reading policy {policy}")),
        }
    }
}

fn named(policy: Option<&str>, operator_policy: Option<&str>) -> String {
    // The API shows an empty name for none.
    let shown = |name: Option<&str>, what: &str| {
        name.filter(|name| !name.is_empty()).map(|name| format!("{what} {name}"))
    };
    let names = [shown(policy, "policy"), shown(operator_policy, "operator policy")];
    let names: Vec<String> = names.into_iter().flatten().collect();
    if names.is_empty() { NO_POLICY.to_owned() } else { names.join(" and ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_policy_changes_no_queue() {
        let shape = Shape { partitions: 2, delay_levels: 24 };
        let policy = json!({ "max-length": BILLING_LEN_MAX });
        let policy = policy.as_object().expect("a table");
        let of_replies = reply_queues::arguments_as_json().as_object().cloned();
        let queues = Topology::of(shape).queues.into_iter().map(|queue| as_json(&queue.arguments));
        for arguments in queues.chain(of_replies) {
            assert_eq!(differences(&arguments, &arguments, policy), [], "{arguments:?}");
        }
    }
}
