//! nginx-rtmp 1.2: one URL for each event, form fields, `/stat` and `/control`.
//!
//! A publisher sends under its key, and a redirect renames its stream to the reservation's id.

use super::call::{Call, Listing, Reply, Unreadable, escaped};
use super::form::{Ambiguous, Form};
use super::hook::{Heard, Outcome, Request, Response, status};
use super::xml;
use crate::domain::admission::admit::Ask;
use crate::domain::admission::code::Denial;
use crate::domain::admission::live::{Client, Role, reservation};
use crate::domain::admission::plan::KeyHash;

const PUBLISH: &str = "publish";
const PLAY: &str = "play";

pub fn hear(request: Request<'_>) -> Heard {
    let denial = if request.path == PLAY { Denial::UnknownStream } else { Denial::UnknownKey };
    read(request).unwrap_or(Heard::Wrong(denial))
}

fn read(request: Request<'_>) -> Result<Heard, Ambiguous> {
    let form = Form::parse(request.body);
    let (app, name) = (form.one("app")?.to_owned(), form.one("name")?);
    let id = form.one("clientid")?.to_owned();
    // The path says which event it is; the field must agree.
    if form.one("call")? != request.path {
        return Err(Ambiguous);
    }
    let ended = |role| Heard::Ended { role, id: id.clone(), stream: None };
    Ok(match request.path {
        PUBLISH => {
            let ask = Ask::Publish { key: KeyHash::of(name), under: None, client: Some(id) };
            Heard::Ask { ask, place: app }
        }
        PLAY => {
            let ask = Ask::View { stream: reservation(name), client: Some(id) };
            Heard::Ask { ask, place: app }
        }
        "publish_done" => ended(Role::Publisher),
        "play_done" => ended(Role::Viewer),
        _ => return Err(Ambiguous),
    })
}

pub fn respond(request: Request<'_>, outcome: Outcome) -> Response {
    match outcome {
        Outcome::Admit(reservation) if request.path == PUBLISH => {
            Response { headers: vec![("location", reservation.to_string())], ..Response::of(302) }
        }
        _ => Response::of(status(outcome)),
    }
}

pub fn list(replies: &[Reply]) -> Result<Listing, Unreadable> {
    let [reply, ..] = replies else { return Ok(Listing::Ask(vec![Call::get("/stat")])) };
    let document = xml::parse("nginx-rtmp's /stat", reply)?;
    let mut clients = Vec::new();
    let applications = document.descendants().filter(|node| node.has_tag_name("application"));
    for application in applications {
        let place = xml::text(application, "name");
        let streams =
            xml::children(application, "live").flat_map(|live| xml::children(live, "stream"));
        for stream in streams {
            clients.extend(xml::children(stream, "client").map(|client| Client {
                role: match xml::children(client, "publishing").next() {
                    Some(_) => Role::Publisher,
                    None => Role::Viewer,
                },
                stream: xml::text(stream, "name").to_owned(),
                id: xml::text(client, "id").to_owned(),
                place: place.to_owned(),
            }));
        }
    }
    Ok(Listing::Done(clients))
}

/// By its number alone: the module compares names without unescaping them.
pub fn kick(client: &Client) -> Call {
    let (app, id) = (escaped(&client.place), escaped(&client.id));
    Call::get(format!("/control/drop/client?app={app}&clientid={id}"))
}
