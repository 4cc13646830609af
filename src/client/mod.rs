//! A typed terminal: sends commands, reads answers and notices.
//!
//! For command line, tests, load generator and demonstration. It needs only a terminal account's
//! rights.

mod command;
mod error;
mod mailbox;
mod replies;
mod reply;

use std::time::Duration;

use uuid::Uuid;

pub use command::Command;
pub use error::ClientError;
pub use replies::Replies;
pub use reply::Reply;

use crate::broker::connection::{Connection, Endpoint};
use crate::broker::publisher::{Fate, Outgoing, Publisher};
use crate::domain::id::ServerId;
use crate::domain::interval::Timestamp;
use mailbox::Mailbox;

/// A terminal's connection. After a broker error, connect again.
pub struct TerminalClient {
    endpoint: Endpoint,
    connection: Connection,
    publisher: Publisher,
    mailbox: Option<Mailbox>,
}

impl TerminalClient {
    /// Connects as the endpoint's account, which is the terminal.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let name = format!("holdfast terminal {}", endpoint.account());
        let connection = endpoint.connect(&name).await?;
        let publisher = Publisher::open(&connection).await?;
        Ok(Self { endpoint: endpoint.clone(), connection, publisher, mailbox: None })
    }

    /// The terminal's id.
    pub fn account(&self) -> &str {
        self.endpoint.account()
    }

    /// Publishes messages unchanged, even wrong ones, and waits for all publisher confirms.
    pub async fn publish(&mut self, batch: &[Outgoing]) -> Result<Vec<Fate>, ClientError> {
        Ok(self.publisher.publish(batch).await?)
    }

    /// Sends all commands, then waits for all publisher confirms; returns one fate each.
    pub async fn send_all(&mut self, commands: &[Command]) -> Result<Vec<Fate>, ClientError> {
        let account = self.endpoint.account();
        let batch: Vec<Outgoing> =
            commands.iter().map(|command| command.outgoing(account)).collect();
        self.publish(&batch).await
    }

    /// Sends a command and waits for its publisher confirm. From then on it is safe and its queue
    /// position fixed.
    pub async fn send(&mut self, command: &Command) -> Result<(), ClientError> {
        let id = || command.message_id.clone();
        match self.send_all(std::slice::from_ref(command)).await?[..] {
            [Fate::Routed] => Ok(()),
            [Fate::Unroutable] => Err(ClientError::Unroutable(id())),
            _ => Err(ClientError::Refused(id())),
        }
    }

    /// Requests `server`; returns the message id.
    pub async fn request(
        &mut self,
        server: &ServerId,
        start_at: Timestamp,
        end_at: Timestamp,
    ) -> Result<String, ClientError> {
        let command = Command::request(new_id(), server.as_str(), start_at, end_at);
        self.send(&command).await?;
        Ok(command.message_id)
    }

    /// Reconfirms a reservation; returns the message id.
    pub async fn reconfirm(
        &mut self,
        server: &ServerId,
        reservation: Uuid,
    ) -> Result<String, ClientError> {
        let command = Command::reconfirm(new_id(), server.as_str(), reservation);
        self.send(&command).await?;
        Ok(command.message_id)
    }

    /// Withdraws a reservation; returns the message id.
    pub async fn withdraw(
        &mut self,
        server: &ServerId,
        reservation: Uuid,
    ) -> Result<String, ClientError> {
        let command = Command::withdraw(new_id(), server.as_str(), reservation);
        self.send(&command).await?;
        Ok(command.message_id)
    }

    /// Queries a reservation; returns the message id.
    pub async fn show(&mut self, reservation: Uuid) -> Result<String, ClientError> {
        let command = Command::show(new_id(), reservation);
        self.send(&command).await?;
        Ok(command.message_id)
    }

    /// Starts reading the reply queue. Called before sending, it detects an account that is no
    /// terminal's.
    pub async fn listen(&mut self) -> Result<(), ClientError> {
        if self.mailbox.is_none() {
            self.mailbox = Some(Mailbox::open(&self.endpoint).await?);
        }
        Ok(())
    }

    /// Waits for a command's answer and takes it. Closing this client requeues other replies in
    /// order. `None` on timeout.
    pub async fn answer_to(
        &mut self,
        message_id: &str,
        timeout: Duration,
    ) -> Result<Option<Reply>, ClientError> {
        let mailbox = match &mut self.mailbox {
            Some(mailbox) => mailbox,
            none => none.insert(Mailbox::open(&self.endpoint).await?),
        };
        Ok(mailbox.answer_to(message_id, timeout).await?)
    }

    /// Starts taking every reply. Not together with [`TerminalClient::answer_to`]: each reply goes
    /// to one reader.
    pub async fn replies(&self) -> Result<Replies, ClientError> {
        Replies::open(&self.endpoint).await
    }

    /// Closes the connections and requeues unread replies.
    pub async fn close(self) -> Result<(), ClientError> {
        if let Some(mailbox) = self.mailbox {
            mailbox.close().await?;
        }
        Ok(self.connection.close().await?)
    }
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}
