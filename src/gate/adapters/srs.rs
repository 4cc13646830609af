//! SRS: HTTP callbacks, and `/api/v1/clients`.
//!
//! Nothing is renamed: a publisher sends to the stream of its reservation, with its key as `token` in the query.

use serde::Deserialize;
use serde_json::json;

use super::call::{Call, Listing, Reply, Unreadable, escaped};
use super::form::Form;
use super::hook::{Heard, Outcome, Request, Response, status};
use crate::domain::admission::admit::Ask;
use crate::domain::admission::code::Denial;
use crate::domain::admission::live::{Client, Role, reservation};
use crate::domain::admission::plan::KeyHash;

/// Clients in one reply; a full page has a next one.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
struct Event {
    action: String,
    client_id: String,
    #[serde(default)]
    app: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    param: String,
}

pub fn hear(request: Request<'_>) -> Heard {
    let Ok(event) = serde_json::from_slice::<Event>(request.body) else {
        return Heard::Wrong(Denial::UnknownKey);
    };
    let ended = |role| Heard::Ended { role, id: event.client_id.clone(), stream: None };
    let (stream, client) = (reservation(&event.stream), Some(event.client_id.clone()));
    let ask = match event.action.as_str() {
        "on_publish" => {
            let query = Form::parse(event.param.trim_start_matches('?').as_bytes());
            match (stream, query.one("token")) {
                (Some(stream), Ok(key)) => {
                    Ask::Publish { key: KeyHash::of(key), under: Some(stream), client }
                }
                _ => return Heard::Wrong(Denial::UnknownKey),
            }
        }
        "on_play" => Ask::View { stream, client },
        "on_unpublish" => return ended(Role::Publisher),
        "on_stop" => return ended(Role::Viewer),
        _ => return Heard::Nothing,
    };
    Heard::Ask { ask, place: event.app }
}

/// It demands status 200 and the code 0.
pub fn respond(outcome: Outcome) -> Response {
    let code = match outcome {
        Outcome::Admit(_) | Outcome::Noted => 0,
        Outcome::Deny(..) | Outcome::Unknown => i32::from(status(outcome)),
    };
    let body = match outcome {
        Outcome::Deny(denial, _) => json!({ "code": code, "denial": denial.to_string() }),
        _ => json!({ "code": code }),
    };
    Response::json(status(outcome), &body)
}

#[derive(Deserialize)]
struct Clients {
    code: i32,
    #[serde(default)]
    clients: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    id: serde_json::Value,
    #[serde(default)]
    name: String,
    #[serde(default)]
    publish: bool,
}

pub fn list(replies: &[Reply]) -> Result<Listing, Unreadable> {
    let mut clients = Vec::new();
    for reply in replies {
        let unreadable = |why: String| Unreadable::new("SRS's /api/v1/clients", reply, why);
        let page: Clients =
            serde_json::from_str(&reply.body).map_err(|error| unreadable(error.to_string()))?;
        if page.code != 0 {
            return Err(unreadable(format!("code {}", page.code)));
        }
        let full = page.clients.len() == PAGE;
        clients.extend(page.clients.into_iter().map(client));
        if !full {
            return Ok(Listing::Done(clients));
        }
    }
    let start = clients.len();
    Ok(Listing::Ask(vec![Call::get(format!("/api/v1/clients?start={start}&count={PAGE}"))]))
}

fn client(item: Item) -> Client {
    let role = if item.publish { Role::Publisher } else { Role::Viewer };
    // A number in older versions.
    let id = item.id.as_str().map_or_else(|| item.id.to_string(), str::to_owned);
    // The name may have its query.
    let stream = item.name.split('?').next().unwrap_or_default().to_owned();
    Client { role, stream, id, place: String::new() }
}

pub fn kick(client: &Client) -> Call {
    Call { method: "DELETE", path: format!("/api/v1/clients/{}", escaped(&client.id)) }
}
