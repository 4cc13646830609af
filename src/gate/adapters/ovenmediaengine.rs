//! OvenMediaEngine: admission webhooks, and version 1 of its REST interface.
//!
//! A publisher sends under its key, and `new_url` renames its stream to the reservation's id. The server lists
//! streams, not their clients; a stream that ends takes its viewers with it.

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::call::{Call, Listing, Reply, Unreadable, escaped};
use super::hook::{Heard, Outcome, Request, Response};
use crate::domain::admission::admit::Ask;
use crate::domain::admission::code::Denial;
use crate::domain::admission::live::{Client, Role, reservation};
use crate::domain::admission::plan::KeyHash;

const VHOST: &str = "/v1/vhosts/default/apps";

#[derive(Deserialize)]
struct Event {
    request: Asked,
}

#[derive(Deserialize)]
struct Asked {
    direction: String,
    status: String,
    url: String,
}

impl Asked {
    /// The application and the stream in the URL's path: `/app/stream` or `/app/stream/playlist`.
    fn names(&self) -> Option<(String, String)> {
        let url = Url::parse(&self.url).ok()?;
        let mut parts = url.path_segments()?;
        let named = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(named).filter(|(app, stream)| !app.is_empty() && !stream.is_empty())
    }

    fn renamed(&self, stream: &str) -> Option<Url> {
        let (app, _) = self.names()?;
        let mut url = Url::parse(&self.url).ok()?;
        url.set_path(&format!("/{app}/{stream}"));
        Some(url)
    }
}

pub fn hear(request: Request<'_>) -> Heard {
    let asked = serde_json::from_slice::<Event>(request.body).map(|event| event.request);
    let Ok(asked) = asked else { return Heard::Wrong(Denial::UnknownKey) };
    let incoming = asked.direction == "incoming";
    let Some((app, stream)) = asked.names() else { return Heard::Wrong(Denial::UnknownKey) };
    if asked.status != "opening" {
        return Heard::Nothing;
    }
    let ask = if incoming {
        Ask::Publish { key: KeyHash::of(&stream), under: None, client: None }
    } else {
        Ask::View { stream: reservation(&stream), client: None }
    };
    Heard::Ask { ask, place: app }
}

pub fn respond(request: Request<'_>, outcome: Outcome) -> Response {
    let asked = serde_json::from_slice::<Event>(request.body).map(|event| event.request);
    match outcome {
        Outcome::Admit(reservation) => {
            let renamed = asked
                .ok()
                .filter(|asked| asked.direction == "incoming")
                .and_then(|asked| asked.renamed(&reservation.to_string()));
            let body = match renamed {
                Some(url) => json!({ "allowed": true, "new_url": url.as_str() }),
                None => json!({ "allowed": true }),
            };
            Response::json(200, &body)
        }
        Outcome::Deny(code, _) => {
            Response::json(200, &json!({ "allowed": false, "reason": code.to_string() }))
        }
        Outcome::Unknown => Response::of(503),
        Outcome::Noted => Response::json(200, &json!({})),
    }
}

#[derive(Deserialize)]
struct Names {
    response: Value,
}

/// First the applications, then the streams of each.
pub fn list(replies: &[Reply]) -> Result<Listing, Unreadable> {
    let [applications, streams @ ..] = replies else {
        return Ok(Listing::Ask(vec![Call::get(VHOST)]));
    };
    let applications = names(applications)?;
    if streams.is_empty() && !applications.is_empty() {
        let list = |app: &String| Call::get(format!("{VHOST}/{}/streams", escaped(app)));
        return Ok(Listing::Ask(applications.iter().map(list).collect()));
    }
    let mut clients = Vec::new();
    for (place, reply) in applications.iter().zip(streams) {
        clients.extend(names(reply)?.into_iter().map(|stream| Client {
            role: Role::Publisher,
            stream,
            id: String::new(),
            place: place.clone(),
        }));
    }
    Ok(Listing::Done(clients))
}

fn names(reply: &Reply) -> Result<Vec<String>, Unreadable> {
    let unreadable = |why: String| Unreadable::new("OvenMediaEngine's list", reply, why);
    let names: Names =
        serde_json::from_str(&reply.body).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_value(names.response).map_err(|error| unreadable(error.to_string()))
}

pub fn kick(client: &Client) -> Call {
    let path = format!("{VHOST}/{}/streams/{}", escaped(&client.place), escaped(&client.stream));
    Call { method: "DELETE", path }
}
