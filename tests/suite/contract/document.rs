//! Generates the contract as an AsyncAPI 3 document from the message types and the topology's
//! names: the messages, and the exchanges and queues through which they travel.

use holdfast::broker::topology::{
    BILLING_QUEUE, COMMANDS_EXCHANGE, EVENTS_EXCHANGE, QUERIES_QUEUE, REPLIES_EXCHANGE, reply_queue,
};
use holdfast::domain::refusal::Code;
use holdfast::domain::trace::STATE_LEN_MAX;
use holdfast::message::command::Kind;
use holdfast::message::event;
use serde_json::{Map, Value, json};

use super::schema;

/// The contract's version. The major one is the highest in the names on the broker: what has not
/// changed since keeps its name.
const VERSION: &str = "2.0.0";

const ABOUT: &str = "Reservations of time on servers, over AMQP 0-9-1.

Versions: within a major version messages only ever gain optional fields, new message types and \
new codes, so readers ignore what they do not know, and treat an unknown code by its `retry`. \
Commands and queries are strict: an unknown field is refused. A change that breaks a reader is a new \
major version, with new names on the broker beside the old ones.

A *command* changes something. Its routing key names its server, in whose order it is decided. \
Published as `mandatory`, it is returned if there is no such server. A message id is decided once per \
terminal, and its answer is repeated byte for byte.

Times in commands and queries are RFC 3339 with upper-case `T`, an offset (`Z` or `+02:00`), at most nine \
digits of a second and no second 60. A whole number may have a fraction of zeros: `20.0` is `20`. Beyond what a \
schema can say: the day exists, the instant lies in the years 0000 to 9999 of UTC, an end is later than its \
start, a window has at most 31 days, and no field stands twice.

A *query* changes nothing and is not ordered among commands. Nobody answers it later than half a \
minute after it was sent.

An *answer* has the `message_id` of its command or query as its `correlation_id`; a *notice* has none.";

/// Types of events.
const EVENTS: [&str; 5] =
    [event::CONFIRMED, event::CANCELLED, event::CREDITED, event::USED, event::NO_SHOW];

/// The document. `examples` are pairs of a schema's name and a message that matches it.
pub fn document(examples: &[(&str, Value)]) -> Value {
    let mut parts = Parts { examples, ..Parts::default() };
    for &kind in Kind::ALL {
        parts.add_received(kind);
    }
    let answers = parts.add_replies("answer");
    parts.add_replies("notice");
    for kind in EVENTS {
        parts.add_event(kind);
    }
    let operations = operations(&parts, &answers);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Holdfast",
            "version": VERSION,
            "description": ABOUT,
            "license": { "name": "MIT" },
        },
        "defaultContentType": "application/json",
        "servers": { "broker": server() },
        "channels": parts.channels(),
        "operations": operations,
        "components": { "messages": parts.messages, "schemas": parts.schemas },
        "x-codes": codes(),
    })
}

fn server() -> Value {
    json!({
        "host": "{host}:{port}",
        "protocol": "amqp",
        "protocolVersion": "0-9-1",
        "pathname": "/{vhost}",
        "description": "RabbitMQ. Each terminal and each billing system has an account of its own.",
        "variables": {
            "host": { "default": "localhost" },
            "port": { "default": "5672" },
            "vhost": { "default": "reservations" },
        },
    })
}

fn codes() -> Value {
    let code = |code: &Code| {
        json!({
            "code": code.as_str(),
            "retry": code.retry().as_str(),
            "meaning": code.meaning(),
            "advice": code.advice(),
        })
    };
    Code::ALL.iter().map(code).collect()
}

const TRACEPARENT_PATTERN: &str = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$";

const REPLIED_TRACE: &str =
    "W3C trace context: the latest that a command of the reservation brought, if any.";

/// The headers of what Holdfast sends within a trace.
fn trace_headers(traceparent: &str) -> Value {
    json!({ "type": "object", "properties": {
        "traceparent": {
            "type": "string", "pattern": TRACEPARENT_PATTERN, "description": traceparent,
        },
        "tracestate": {
            "type": "string",
            "maxLength": STATE_LEN_MAX,
            "description": "The `tracestate` that came with it.",
        },
    } })
}

/// A JSON pointer inside the document.
fn reference(path: &str) -> Value {
    json!({ "$ref": format!("#/{path}") })
}

/// Messages and schemas collected so far, and the examples to put into them.
#[derive(Default)]
struct Parts<'a> {
    examples: &'a [(&'a str, Value)],
    messages: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Parts<'_> {
    /// Adds a command or a query.
    fn add_received(&mut self, kind: Kind) {
        let name = schema::name_of(kind);
        let payload = self.schema(&name);
        let mut message = self.message(&name, kind.as_str(), &name, payload);
        message["headers"] = json!({ "type": "object", "properties": {
            "traceparent": {
                "type": "string",
                "pattern": TRACEPARENT_PATTERN,
                "description": "W3C trace context. Comes back with the answer, and with what the command leads to.",
            },
            "tracestate": {
                "type": "string",
                "maxLength": STATE_LEN_MAX,
                "description": "Comes back with `traceparent`.",
            },
        } });
        message["description"] = json!(
            "Properties: `user_id` (the terminal's account), `message_id` (1 to 128 of \
             `A-Z a-z 0-9 . _ : -`), `content_type` `application/json`, persistent. Not allowed: \
             `priority`, `expiration`, `content_encoding`, headers `CC`, `BCC`, `x-*`."
        );
        self.messages.insert(name, message);
    }

    /// Adds one message for each type of answer or notice. Returns their names.
    fn add_replies(&mut self, group: &str) -> Vec<String> {
        let whole = self.whole(group);
        let variants = whole["oneOf"].as_array().cloned().unwrap_or_default();
        let mut names = Vec::new();
        for variant in variants {
            let kind = variant["properties"]["type"]["const"].as_str().unwrap_or_default();
            let name = format!("{group}.{kind}");
            self.schemas.insert(name.clone(), variant.clone());
            let payload = reference(&format!("components/schemas/{name}"));
            let mut message = self.message(&name, kind, group, payload);
            let sent_at = json!({
                "type": "string", "format": "date-time", "description": "When it was sent.",
            });
            message["headers"] = trace_headers(match group {
                "answer" => "W3C trace context: the command's.",
                _ => REPLIED_TRACE,
            });
            message["headers"]["properties"]["sent-at"] = sent_at;
            message["summary"] = variant["description"].clone();
            if group == "answer" {
                message["correlationId"] = json!({
                    "description": "The property `correlation_id`: the command's `message_id`.",
                    "location": "$message.header#/correlation_id",
                });
            }
            self.messages.insert(name.clone(), message);
            names.push(name);
        }
        names
    }

    fn add_event(&mut self, kind: &str) {
        let name = format!("event.{kind}");
        let payload = self.schema(&name);
        let mut message = self.message(&name, kind, &name, payload);
        message["contentType"] = json!(event::CONTENT_TYPE);
        message["headers"] = trace_headers(REPLIED_TRACE);
        self.messages.insert(name, message);
    }

    fn message(&self, name: &str, kind: &str, schema: &str, payload: Value) -> Value {
        let fits = |example: &&(&str, Value)| {
            example.0 == schema && example.1.get("type").is_none_or(|given| given == kind)
        };
        let examples: Vec<Value> = self
            .examples
            .iter()
            .filter(fits)
            .map(|(_, payload)| json!({ "payload": payload }))
            .collect();
        json!({
            "name": name,
            "title": kind,
            "payload": payload,
            "bindings": { "amqp": { "messageType": kind, "bindingVersion": "0.3.0" } },
            "examples": examples,
        })
    }

    /// Adds the schema of that name and returns a reference to it.
    fn schema(&mut self, name: &str) -> Value {
        let whole = self.whole(name);
        self.schemas.insert(name.to_owned(), whole);
        reference(&format!("components/schemas/{name}"))
    }

    /// The schema of that name. Moves its definitions into the document's.
    fn whole(&mut self, name: &str) -> Value {
        let all = schema::all();
        let found = all.into_iter().find(|(known, _)| *known == name);
        let mut schema = found.expect("every message has a schema").1.to_value();
        point_into_components(&mut schema);
        if let Some(object) = schema.as_object_mut() {
            object.remove("$schema");
            if let Some(Value::Object(definitions)) = object.remove("$defs") {
                self.schemas.extend(definitions);
            }
        }
        schema
    }

    fn channels(&self) -> Value {
        let mut channels = Map::new();
        for &kind in Kind::ALL {
            channels.insert(schema::name_of(kind), self.received(kind));
        }
        let mut replies = self.channel(&reply_queue("{terminal}"), "answer.");
        let notices = self.channel("", "notice.");
        if let (Some(all), Some(more)) =
            (replies["messages"].as_object_mut(), notices["messages"].as_object())
        {
            all.extend(more.clone());
        }
        replies["parameters"] = json!({ "terminal": { "description": "The terminal's id." } });
        replies["description"] = json!(format!("Fed by the exchange `{REPLIES_EXCHANGE}`."));
        replies["bindings"] = queue(&reply_queue("{terminal}"));
        channels.insert("replies".to_owned(), replies);
        for kind in EVENTS {
            let name = format!("event.{kind}");
            let mut channel = self.channel(&format!("{kind}.{{server}}"), &name);
            channel["parameters"] = json!({ "server": { "description": "The server's id." } });
            channel["bindings"] = routing_key(EVENTS_EXCHANGE);
            channels.insert(name, channel);
        }
        let mut billing = self.channel(BILLING_QUEUE, &format!("event.{}", event::CONFIRMED));
        let credited = format!("event.{}", event::CREDITED);
        billing["messages"][&credited] = reference(&format!("components/messages/{credited}"));
        billing["bindings"] = queue(BILLING_QUEUE);
        channels.insert("billing".to_owned(), billing);
        Value::Object(channels)
    }

    /// The channel of a command or query.
    fn received(&self, kind: Kind) -> Value {
        let (word, name) = (kind.as_str(), schema::name_of(kind));
        let terminal = json!({ "description": "The terminal's id." });
        let mut channel = if kind.is_query() {
            let mut channel = self.channel(&format!("{{terminal}}.{word}"), &name);
            channel["parameters"] = json!({ "terminal": terminal });
            channel["description"] =
                json!(format!("Led to the queue `{QUERIES_QUEUE}`, which all workers read."));
            channel
        } else {
            let mut channel = self.channel(&format!("{{terminal}}.{word}.{{server}}"), &name);
            let server = json!({ "description": "The server's id." });
            channel["parameters"] = json!({ "terminal": terminal, "server": server });
            channel["description"] = json!("Led to the queue of the server's partition.");
            channel
        };
        channel["bindings"] = routing_key(COMMANDS_EXCHANGE);
        channel
    }

    /// A channel for all messages whose name has this prefix.
    fn channel(&self, address: &str, prefix: &str) -> Value {
        let messages: Map<String, Value> = self
            .messages
            .keys()
            .filter(|name| name.starts_with(prefix))
            .map(|name| (name.clone(), reference(&format!("components/messages/{name}"))))
            .collect();
        json!({ "address": address, "messages": messages })
    }
}

/// Points references to a schema's own definitions at the document's.
fn point_into_components(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get_mut("$ref") {
                *target = target.replace("#/$defs/", "#/components/schemas/");
            }
            object.values_mut().for_each(point_into_components);
        }
        Value::Array(array) => array.iter_mut().for_each(point_into_components),
        _ => {}
    }
}

fn routing_key(exchange: &str) -> Value {
    json!({ "amqp": {
        "is": "routingKey",
        "exchange": { "name": exchange, "type": "topic", "durable": true, "autoDelete": false },
        "bindingVersion": "0.3.0",
    } })
}

fn queue(name: &str) -> Value {
    json!({ "amqp": {
        "is": "queue",
        "queue": { "name": name, "durable": true, "exclusive": false, "autoDelete": false },
        "bindingVersion": "0.3.0",
    } })
}

/// The operations: Holdfast receives commands and queries, and sends the rest.
fn operations(parts: &Parts, answers: &[String]) -> Value {
    let of_channel = |channel: &str, names: &[String]| -> Vec<Value> {
        names.iter().map(|name| reference(&format!("channels/{channel}/messages/{name}"))).collect()
    };
    let mut operations = Map::new();
    for &kind in Kind::ALL {
        let name = schema::name_of(kind);
        let answered: Vec<String> =
            answers.iter().filter(|answer| answers_to(kind, answer)).cloned().collect();
        let operation = json!({
            "action": "receive",
            "channel": reference(&format!("channels/{name}")),
            "messages": of_channel(&name, std::slice::from_ref(&name)),
            "reply": {
                "channel": reference("channels/replies"),
                "messages": of_channel("replies", &answered),
            },
        });
        operations.insert(format!("receive.{}", kind.as_str()), operation);
    }
    let named = |prefix: &str| -> Vec<String> {
        parts.messages.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    };
    operations.insert(
        "send.notice".to_owned(),
        json!({
            "action": "send",
            "channel": reference("channels/replies"),
            "messages": of_channel("replies", &named("notice.")),
        }),
    );
    for kind in EVENTS {
        let name = format!("event.{kind}");
        let operation = json!({
            "action": "send",
            "channel": reference(&format!("channels/{name}")),
            "messages": of_channel(&name, std::slice::from_ref(&name)),
        });
        operations.insert(format!("send.{kind}"), operation);
    }
    Value::Object(operations)
}

/// Whether a command or query of `kind` can have an answer of that name.
fn answers_to(kind: Kind, answer: &str) -> bool {
    let own = match kind {
        Kind::Request => "answer.reservation.accepted",
        Kind::Reconfirm => "answer.reservation.reconfirmed",
        Kind::Withdraw => "answer.reservation.withdrawn",
        Kind::Show => "answer.reservation.shown",
        Kind::List => "answer.reservation.listed",
        Kind::Availability => "answer.server.availability",
    };
    answer == own || answer == "answer.reservation.refused"
}
