//! Who is connected to the streaming server: what it lists, and what was admitted a moment ago.

use std::collections::HashMap;

use chrono::TimeDelta;
use uuid::Uuid;

use super::code::Denial;
use super::plan::{KeyHash, Plan};
use crate::domain::interval::Timestamp;

/// How long the server may take to list a client that was admitted. It was refused for another reason then, or
/// went away.
const LISTED_WITHIN: TimeDelta = TimeDelta::seconds(3);

/// Time between two takeovers of a stream. Two encoders that both try again would throw each other out for
/// ever otherwise.
pub const TAKE_OVER_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// How long a server may still list a client whose end it has reported.
const GONE_FOR: TimeDelta = TimeDelta::seconds(2);

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sends the stream.
    Publisher,
    /// Receives it.
    Viewer,
}

/// A client as the server lists it, and as it must be named to be disconnected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// What it does.
    pub role: Role,
    /// The stream's name.
    pub stream: String,
    /// The server's id for the connection; unique with role and stream.
    pub id: String,
    /// What else the server needs to find it: an application, a protocol.
    pub place: String,
}

impl Client {
    /// The reservation that its stream is named after.
    pub fn reservation(&self) -> Option<Uuid> {
        reservation(&self.stream)
    }

    fn same(&self, other: &Self) -> bool {
        (self.role, &self.stream, &self.id) == (other.role, &other.stream, &other.id)
    }
}

/// The reservation that a stream is named after. Only one spelling of an id is its name.
pub fn reservation(stream: &str) -> Option<Uuid> {
    Uuid::try_parse(stream).ok().filter(|id| id.to_string() == stream)
}

/// A connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Counts sessions, for records of use.
    pub serial: u64,
    /// Who.
    pub client: Client,
    /// The reservation's key when it was first seen.
    pub key: Option<KeyHash>,
    /// When it was first seen.
    pub since: Timestamp,
    /// Why it was told to go.
    pub told: Option<Denial>,
    /// When it was admitted, as long as the server does not list it.
    unlisted_since: Option<Timestamp>,
}

impl Session {
    /// Whether the server has listed it. An admitted client that never is was refused for another reason.
    pub fn is_listed(&self) -> bool {
        self.unlisted_since.is_none()
    }
}

/// All connected clients.
#[derive(Debug, Default)]
pub struct Live {
    sessions: Vec<Session>,
    taken_over: HashMap<Uuid, Timestamp>,
    gone: Vec<(Client, Timestamp)>,
    serials: u64,
}

impl Live {
    /// In the order in which they came.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Publishers of a reservation.
    pub fn publishers(&self, reservation: Uuid) -> impl Iterator<Item = &Session> {
        self.of(Role::Publisher, reservation)
    }

    /// Its clients in one role.
    pub fn of(&self, role: Role, reservation: Uuid) -> impl Iterator<Item = &Session> {
        let name = reservation.to_string();
        self.sessions
            .iter()
            .filter(move |session| session.client.role == role && session.client.stream == name)
    }

    /// When another connection last took over from a publisher of the reservation.
    pub fn taken_over(&self, reservation: Uuid) -> Option<Timestamp> {
        self.taken_over.get(&reservation).copied()
    }

    /// Notes that a client was admitted. The server lists it soon.
    pub fn admitted(&mut self, now: Timestamp, client: Client, key: Option<KeyHash>) {
        if !self.sessions.iter().any(|session| session.client.same(&client)) {
            self.add(now, client, key, Some(now));
        }
    }

    /// Notes that a connection takes over from its reservation's publisher.
    pub fn take_over(&mut self, now: Timestamp, reservation: Uuid) {
        self.taken_over.retain(|_, at| now - *at < TAKE_OVER_INTERVAL);
        self.taken_over.insert(reservation, now);
    }

    /// Notes that a client was told to go, and why.
    pub fn told(&mut self, serial: u64, why: Denial) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.serial == serial) {
            session.told = session.told.or(Some(why));
        }
    }

    /// Notes that the server has reported a client's end; returns its session. A server that gives no ids names
    /// the stream instead.
    pub fn ended(
        &mut self,
        now: Timestamp,
        role: Role,
        id: &str,
        stream: Option<&str>,
    ) -> Option<Session> {
        let index = self.sessions.iter().position(|Session { client, .. }| {
            client.role == role
                && client.id == id
                && stream.is_none_or(|stream| stream == client.stream)
        })?;
        let session = self.sessions.remove(index);
        self.gone.push((session.client.clone(), now));
        Some(session)
    }

    /// Forgets a session that was told to go and has left.
    pub fn remove(&mut self, serial: u64) -> Option<Session> {
        let index = self.sessions.iter().position(|session| session.serial == serial)?;
        Some(self.sessions.remove(index))
    }

    /// Takes in the server's list; returns the sessions that are no longer on it.
    pub fn listed(&mut self, now: Timestamp, plan: Option<&Plan>, list: &[Client]) -> Vec<Session> {
        self.gone.retain(|(_, at)| now - *at < GONE_FOR);
        let mut left = Vec::new();
        self.sessions.retain_mut(|session| {
            if list.iter().any(|client| client.same(&session.client)) {
                session.unlisted_since = None;
                return true;
            }
            let expected = session.unlisted_since.is_some_and(|at| now - at < LISTED_WITHIN);
            if !expected {
                left.push(session.clone());
            }
            expected
        });
        for client in list {
            let gone = self.gone.iter().any(|(gone, _)| gone.same(client));
            if gone || self.sessions.iter().any(|session| session.client.same(client)) {
                continue;
            }
            let entry = client.reservation().and_then(|id| plan?.get(id));
            self.add(now, client.clone(), entry.map(|entry| entry.key), None);
        }
        left
    }

    fn add(
        &mut self,
        now: Timestamp,
        client: Client,
        key: Option<KeyHash>,
        unlisted_since: Option<Timestamp>,
    ) {
        self.serials += 1;
        let serial = self.serials;
        let session = Session { serial, client, key, since: now, told: None, unlisted_since };
        self.sessions.push(session);
    }
}
