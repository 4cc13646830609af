//! What a queue's arguments and the policies over it come to, as RabbitMQ resolves them.
//!
//! Read in `rabbit_quorum_queue` and `rabbit_amqqueue_process` of 3.10 and 4.x. A policy and an operator policy
//! are merged by the broker beforehand; of two arguments that are numbers the lesser one holds.

use serde_json::{Map, Value};

/// How RabbitMQ resolves a key that an argument and a policy set.
#[derive(Clone, Copy)]
enum Rule {
    Least,
    /// A negative value means: no limit.
    LeastLimit,
    Argument,
    Policy,
}

/// Keys that decide whether a message is kept, refused, dropped or passed on: for a quorum queue, and for a
/// classic one. `None`: such a queue ignores the policy.
const KEYS: [(&str, Option<Rule>, Option<Rule>); 9] = [
    ("message-ttl", Some(Rule::Least), Some(Rule::Least)),
    ("expires", Some(Rule::Policy), Some(Rule::Least)),
    ("max-length", Some(Rule::Least), Some(Rule::Least)),
    ("max-length-bytes", Some(Rule::Least), Some(Rule::Least)),
    ("overflow", Some(Rule::Policy), Some(Rule::Argument)),
    ("delivery-limit", Some(Rule::LeastLimit), None),
    ("dead-letter-exchange", Some(Rule::Argument), Some(Rule::Argument)),
    ("dead-letter-routing-key", Some(Rule::Argument), Some(Rule::Argument)),
    ("dead-letter-strategy", Some(Rule::Argument), None),
];

/// A key whose effective value is not the wanted one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) key: &'static str,
    pub(super) value: Option<Value>,
    pub(super) expected: Option<Value>,
}

/// Compares what a queue should have been declared with, and what its arguments and policies come to.
pub(super) fn differences(
    wanted: &Map<String, Value>,
    arguments: &Map<String, Value>,
    policy: &Map<String, Value>,
) -> Vec<Difference> {
    let quorum = arguments.get("x-queue-type").is_some_and(|kind| kind == "quorum");
    let mut differences = Vec::new();
    for (key, of_quorum, of_classic) in KEYS {
        let name = format!("x-{key}");
        let rule = if quorum { of_quorum } else { of_classic };
        let policy = rule.and_then(|rule| Some((rule, policy.get(key)?)));
        let value = match (arguments.get(&name), policy) {
            (None, None) => None,
            (Some(value), None) | (None, Some((_, value))) => Some(value),
            (Some(argument), Some((rule, policy))) => Some(resolve(rule, argument, policy)),
        };
        let expected = wanted.get(&name);
        if value != expected {
            let (value, expected) = (value.cloned(), expected.cloned());
            differences.push(Difference { key, value, expected });
        }
    }
    differences
}

fn resolve<'a>(rule: Rule, argument: &'a Value, policy: &'a Value) -> &'a Value {
    let number = |value: &Value| value.as_i64().unwrap_or(i64::MAX);
    let (by_argument, by_policy) = (number(argument), number(policy));
    let unlimited = by_argument < 0 || by_policy < 0;
    let by_policy_wins = match rule {
        Rule::Argument => false,
        Rule::Policy => true,
        Rule::LeastLimit if unlimited => by_policy > by_argument,
        Rule::Least | Rule::LeastLimit => by_policy < by_argument,
    };
    if by_policy_wins { policy } else { argument }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(arguments: Value, policy: Value) -> Vec<(&'static str, Value, Value)> {
        let [arguments, policy] = [arguments, policy].map(|value| value.as_object().cloned());
        let (arguments, policy) = (arguments.expect("a table"), policy.expect("a table"));
        differences(&arguments, &arguments, &policy)
            .into_iter()
            .map(|found| {
                (found.key, found.value.unwrap_or_default(), found.expected.unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn the_lesser_number_holds() {
        let arguments =
            json!({ "x-queue-type": "quorum", "x-max-length": 10, "x-delivery-limit": 5 });
        assert!(found(arguments.clone(), json!({})).is_empty());
        assert!(
            found(arguments.clone(), json!({ "max-length": 11, "delivery-limit": 5 })).is_empty()
        );
        let lower = found(arguments.clone(), json!({ "max-length": 9, "message-ttl": 1 }));
        assert_eq!(
            lower,
            [("message-ttl", json!(1), json!(null)), ("max-length", json!(9), json!(10))]
        );
        let unlimited = found(arguments, json!({ "delivery-limit": -1 }));
        assert!(unlimited.is_empty(), "a limit and none: {unlimited:?}");
    }

    #[test]
    fn a_policy_beats_some_arguments_of_quorum_queues_only() {
        let policy = json!({ "overflow": "drop-head", "expires": 9, "dead-letter-exchange": "x" });
        let arguments = |kind: &str| {
            json!({ "x-queue-type": kind, "x-overflow": "reject-publish", "x-expires": 5,
                "x-dead-letter-exchange": "y" })
        };
        assert!(found(arguments("classic"), policy.clone()).is_empty());
        assert_eq!(
            found(arguments("quorum"), policy),
            [
                ("expires", json!(9), json!(5)),
                ("overflow", json!("drop-head"), json!("reject-publish"))
            ]
        );
        let ignored = found(json!({ "x-queue-type": "classic" }), json!({ "delivery-limit": 1 }));
        assert!(ignored.is_empty(), "{ignored:?}");
    }
}
