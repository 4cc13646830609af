//! Makes hundreds of terminals with two imports of definitions, instead of a call for each.
//!
//! Each gets what `holdfast terminal add` gives it (`src/broker/accounts.rs`), except the limits.

use holdfast::broker::reply_queues::arguments_as_json;
use holdfast::broker::topology::{COMMANDS_EXCHANGE, REPLIES_EXCHANGE, reply_queue};
use rabbitmq_http_client::password_hashing::base64_encoded_salted_password_hash_sha256;
use serde_json::{Value, json};

const NOTHING: &str = "^$";

fn literal(name: &str) -> String {
    format!("^{}$", name.replace('.', "\\."))
}

/// A vhost, the accounts and their permissions there. Accounts in `full` may do everything.
pub fn vhost(
    vhost: &str,
    terminals: &[String],
    full: &[&str],
    ours: &str,
    password: &str,
) -> Value {
    let hash = base64_encoded_salted_password_hash_sha256(&[1, 2, 3, 4], password);
    let users: Vec<Value> = terminals
        .iter()
        .map(String::as_str)
        .chain([ours])
        .map(|name| json!({ "name": name, "password_hash": hash, "tags": "" }))
        .collect();
    let all = full.iter().map(|name| {
        json!({ "user": name, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*" })
    });
    let least = terminals.iter().map(|name| {
        json!({ "user": name, "vhost": vhost, "configure": NOTHING,
                "write": literal(COMMANDS_EXCHANGE), "read": literal(&reply_queue(name)) })
    });
    json!({
        "users": users,
        "vhosts": [{ "name": vhost }],
        "permissions": all.chain(least).collect::<Vec<Value>>(),
    })
}

/// The reply queues and the permissions for routing keys. The topology must have been applied.
pub fn reply_queues(vhost: &str, terminals: &[String]) -> Value {
    let queue = |name: &String| {
        json!({ "name": reply_queue(name), "vhost": vhost, "durable": true, "auto_delete": false,
                "arguments": arguments_as_json() })
    };
    let binding = |name: &String| {
        json!({ "source": REPLIES_EXCHANGE, "vhost": vhost, "destination": reply_queue(name),
                "destination_type": "queue", "routing_key": name, "arguments": {} })
    };
    let grant = |name: &String| {
        json!({ "user": name, "vhost": vhost, "exchange": COMMANDS_EXCHANGE,
                "write": "^{username}\\.", "read": NOTHING })
    };
    json!({
        "topic_permissions": terminals.iter().map(grant).collect::<Vec<Value>>(),
        "queues": terminals.iter().map(queue).collect::<Vec<Value>>(),
        "bindings": terminals.iter().map(binding).collect::<Vec<Value>>(),
    })
}
