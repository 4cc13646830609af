//! Messages that the typed client cannot send.

use holdfast::broker::connection::Connection;
use holdfast::broker::topology::COMMANDS_EXCHANGE;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use lapin::{BasicProperties, Error, ErrorKind};
use serde_json::json;

use crate::support::terminal::{new_id, window};

/// All parts of a message: a valid request until a part is changed.
#[derive(Clone)]
pub struct Message {
    pub exchange: String,
    pub routing_key: String,
    pub user_id: Option<String>,
    pub message_id: Option<String>,
    pub kind: Option<String>,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub correlation_id: Option<String>,
    pub reply_to: Option<String>,
    pub expiration: Option<String>,
    pub priority: Option<u8>,
    pub headers: FieldTable,
    pub body: Vec<u8>,
}

pub fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

impl Message {
    pub fn request(terminal: &str) -> Self {
        let (start, end) = window(86_400, 60);
        let body = json!({ "start_at": start, "end_at": end }).to_string();
        Self::command(terminal, "request", body)
    }

    /// A command to the server `cam`, or a query.
    pub fn command(terminal: &str, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let is_query = ["show", "list", "availability"].contains(&kind);
        let routing_key = format!("{terminal}.{kind}{}", if is_query { "" } else { ".cam" });
        Self {
            exchange: COMMANDS_EXCHANGE.to_owned(),
            routing_key,
            user_id: Some(terminal.to_owned()),
            message_id: Some(new_id()),
            kind: None,
            content_type: Some("application/json".to_owned()),
            content_encoding: None,
            correlation_id: None,
            reply_to: None,
            expiration: None,
            priority: None,
            headers: FieldTable::default(),
            body: body.into(),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn header(self, name: &str, value: AMQPValue) -> Self {
        self.with(|message| {
            message.headers.insert(name.into(), value);
        })
    }

    /// Adds routing keys in the header `CC` or `BCC`.
    pub fn copied(self, header: &str, keys: &[&str]) -> Self {
        let mut array = FieldArray::default();
        keys.iter().for_each(|key| array.push(text(key)));
        self.header(header, AMQPValue::FieldArray(array))
    }

    fn properties(&self) -> BasicProperties {
        type Set = fn(BasicProperties, ShortString) -> BasicProperties;
        let texts: [(&Option<String>, Set); 8] = [
            (&self.user_id, BasicProperties::with_user_id),
            (&self.message_id, BasicProperties::with_message_id),
            (&self.kind, BasicProperties::with_type),
            (&self.content_type, BasicProperties::with_content_type),
            (&self.content_encoding, BasicProperties::with_content_encoding),
            (&self.correlation_id, BasicProperties::with_correlation_id),
            (&self.reply_to, BasicProperties::with_reply_to),
            (&self.expiration, BasicProperties::with_expiration),
        ];
        let mut properties = BasicProperties::default().with_headers(self.headers.clone());
        for (value, set) in texts {
            if let Some(value) = value {
                properties = set(properties, value.as_str().into());
            }
        }
        match self.priority {
            Some(priority) => properties.with_priority(priority),
            None => properties,
        }
    }

    /// Publishes on a new channel. Returns the broker's code if it refuses (and closes the channel) or
    /// returns the message.
    pub async fn publish(&self, connection: &Connection) -> Result<(), u16> {
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sent = channel
            .basic_publish(
                self.exchange.as_str().into(),
                self.routing_key.as_str().into(),
                options,
                &self.body,
                self.properties(),
            )
            .await;
        let confirmed = match sent {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        match confirmed {
            Ok(confirmation) => {
                assert!(confirmation.is_ack(), "confirmed");
                channel.close(200, "".into()).await.expect("the channel closes");
                match confirmation.take_message() {
                    Some(returned) => Err(returned.reply_code),
                    None => Ok(()),
                }
            }
            Err(error) => Err(code_of(&error)),
        }
    }
}

/// The code with which the broker closed a channel.
pub fn code_of(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_id(),
        other => panic!("not the broker's refusal: {other:?}"),
    }
}
