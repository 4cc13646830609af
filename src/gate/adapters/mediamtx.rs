//! MediaMTX: HTTP authentication, and the lists of its protocols.
//!
//! Nothing is renamed: a publisher sends to the path of its reservation, with its key as the password, or as
//! `token` in the query.

use serde::Deserialize;
use serde_json::json;

use super::call::{Call, Listing, Reply, Unreadable, escaped};
use super::form::Form;
use super::hook::{Heard, Outcome, Request, Response, status};
use crate::domain::admission::admit::Ask;
use crate::domain::admission::code::Denial;
use crate::domain::admission::live::{Client, Role, reservation};
use crate::domain::admission::plan::KeyHash;

/// Connections by protocol. HLS has none.
const LISTS: [&str; 6] =
    ["rtmpconns", "rtmpsconns", "rtspsessions", "rtspssessions", "srtconns", "webrtcsessions"];

/// Clients in one reply. MediaMTX has as many pages as it takes.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
struct Question {
    action: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    query: String,
}

impl Question {
    /// Of several, the first that is given; `None`: none, or two in the query.
    fn key(&self) -> Option<String> {
        let query = Form::parse(self.query.as_bytes());
        let token = query.optional("token").ok()?.unwrap_or_default();
        [self.password.as_str(), &self.token, token]
            .into_iter()
            .find(|given| !given.is_empty())
            .map(str::to_owned)
    }

    fn place(&self) -> String {
        let list = match self.protocol.as_str() {
            "rtmp" => "rtmpconns",
            "rtmps" => "rtmpsconns",
            "rtsp" => "rtspsessions",
            "rtsps" => "rtspssessions",
            "srt" => "srtconns",
            "webrtc" => "webrtcsessions",
            _ => "",
        };
        list.to_owned()
    }
}

pub fn hear(request: Request<'_>) -> Heard {
    let Ok(question) = serde_json::from_slice::<Question>(request.body) else {
        return Heard::Wrong(Denial::UnknownKey);
    };
    let (stream, client) = (reservation(&question.path), question.id.clone());
    let ask = match question.action.as_str() {
        "publish" => match (stream, question.key()) {
            (Some(stream), Some(key)) => {
                Ask::Publish { key: KeyHash::of(&key), under: Some(stream), client }
            }
            _ => return Heard::Wrong(Denial::UnknownKey),
        },
        "read" => Ask::View { stream, client },
        // Recordings and MediaMTX's own interface are not for a reservation's clients.
        _ => return Heard::Wrong(Denial::UnknownStream),
    };
    Heard::Ask { ask, place: question.place() }
}

/// An RTSP client sends credentials only when it is asked for some.
pub fn respond(request: Request<'_>, outcome: Outcome) -> Response {
    let bare = || {
        let question = serde_json::from_slice::<Question>(request.body);
        question.is_ok_and(|question| question.action == "publish" && question.key().is_none())
    };
    match outcome {
        Outcome::Deny(code, _) => {
            let status = if bare() { 401 } else { 403 };
            Response::json(status, &json!({ "code": code.to_string() }))
        }
        _ => Response::of(status(outcome)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    page_count: usize,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    id: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    state: String,
}

/// The first page of each list, then the others.
pub fn list(replies: &[Reply]) -> Result<Listing, Unreadable> {
    if replies.len() < LISTS.len() {
        return Ok(Listing::Ask(LISTS.iter().map(|list| page(list, 0)).collect()));
    }
    let mut places: Vec<&str> = LISTS.to_vec();
    let mut pages = Vec::new();
    let mut more = Vec::new();
    for (index, reply) in replies.iter().enumerate() {
        let Some(place) = places.get(index).copied() else { break };
        // A protocol that is off has no list.
        if reply.status == 404 {
            continue;
        }
        let read = serde_json::from_str::<Page>(&reply.body)
            .map_err(|error| Unreadable::new("MediaMTX's list", reply, error))?;
        if index < LISTS.len() {
            let others = 1..read.page_count;
            places.extend(others.clone().map(|_| place));
            more.extend(others.map(|number| page(place, number)));
        }
        pages.push((place, read));
    }
    if replies.len() < places.len() {
        return Ok(Listing::Ask(more));
    }
    let clients = pages.into_iter().flat_map(|(place, page)| {
        page.items.into_iter().filter_map(move |item| client(place, item))
    });
    Ok(Listing::Done(clients.collect()))
}

fn page(list: &str, number: usize) -> Call {
    Call::get(format!("/v3/{list}/list?itemsPerPage={PAGE}&page={number}"))
}

fn client(place: &str, item: Item) -> Option<Client> {
    let role = match item.state.as_str() {
        "publish" => Role::Publisher,
        "read" => Role::Viewer,
        _ => return None,
    };
    Some(Client { role, stream: item.path, id: item.id, place: place.to_owned() })
}

pub fn kick(client: &Client) -> Call {
    let path = format!("/v3/{}/kick/{}", client.place, escaped(&client.id));
    Call { method: "POST", path }
}
