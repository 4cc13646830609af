//! Icecast 2.4: URL authentication, `/admin/stats` and `/admin/listclients`.
//!
//! Nothing is renamed: a source sends to the mount of its reservation, with its key as the password. Sources have
//! no id, listeners have.

use super::call::{Call, Listing, Reply, Unreadable, escaped};
use super::form::{Ambiguous, Form};
use super::hook::{Heard, Outcome, Request, Response, status};
use super::xml;
use crate::domain::admission::admit::Ask;
use crate::domain::admission::code::Denial;
use crate::domain::admission::live::{Client, Role, reservation};
use crate::domain::admission::plan::KeyHash;

pub fn hear(request: Request<'_>) -> Heard {
    let denial = match request.path {
        "listener_add" => Denial::UnknownStream,
        _ => Denial::UnknownKey,
    };
    read(request).unwrap_or(Heard::Wrong(denial))
}

fn read(request: Request<'_>) -> Result<Heard, Ambiguous> {
    let form = Form::parse(request.body);
    if form.one("action")? != request.path {
        return Err(Ambiguous);
    }
    // A listener's has its query.
    let mount = form.one("mount")?.split('?').next().unwrap_or_default();
    let stream = mount.strip_prefix('/').unwrap_or_default();
    let ask = match request.path {
        "stream_auth" => {
            let key = KeyHash::of(form.one("pass")?);
            let stream = reservation(stream).ok_or(Ambiguous)?;
            match form.optional("admin")? {
                None => Ask::Publish { key, under: Some(stream), client: None },
                Some(_) => Ask::Describe { key, stream },
            }
        }
        "listener_add" => {
            let client = Some(form.one("client")?.to_owned());
            Ask::View { stream: reservation(stream), client }
        }
        "listener_remove" => {
            let id = form.one("client")?.to_owned();
            return Ok(Heard::Ended { role: Role::Viewer, id, stream: None });
        }
        "mount_remove" => {
            let stream = Some(stream.to_owned());
            return Ok(Heard::Ended { role: Role::Publisher, id: String::new(), stream });
        }
        "mount_add" => return Ok(Heard::Nothing),
        _ => return Err(Ambiguous),
    };
    Ok(Heard::Ask { ask, place: String::new() })
}

pub fn respond(outcome: Outcome) -> Response {
    let headers = match outcome {
        Outcome::Admit(_) | Outcome::Noted => vec![("icecast-auth-user", "1".to_owned())],
        Outcome::Deny(..) | Outcome::Unknown => Vec::new(),
    };
    Response { headers, ..Response::of(status(outcome)) }
}

/// First the mounts, then the listeners of each.
pub fn list(replies: &[Reply]) -> Result<Listing, Unreadable> {
    let [stats, listeners @ ..] = replies else {
        return Ok(Listing::Ask(vec![Call::get("/admin/stats")]));
    };
    let document = xml::parse("Icecast's /admin/stats", stats)?;
    let mounts: Vec<&str> = xml::children(document.root_element(), "source")
        .filter_map(|source| source.attribute("mount"))
        .collect();
    if listeners.is_empty() && !mounts.is_empty() {
        let list = |mount: &&str| Call::get(format!("/admin/listclients?mount={}", escaped(mount)));
        return Ok(Listing::Ask(mounts.iter().map(list).collect()));
    }
    let mut clients: Vec<Client> =
        mounts.iter().map(|mount| client(Role::Publisher, mount, "")).collect();
    for (mount, reply) in mounts.iter().zip(listeners) {
        // The mount has gone in between.
        if reply.status == 400 {
            clients.retain(|client| format!("/{}", client.stream) != *mount);
            continue;
        }
        let document = xml::parse("Icecast's /admin/listclients", reply)?;
        let sources = xml::children(document.root_element(), "source");
        let listeners = sources.flat_map(|source| xml::children(source, "listener"));
        clients.extend(listeners.map(|one| client(Role::Viewer, mount, xml::text(one, "ID"))));
    }
    Ok(Listing::Done(clients))
}

fn client(role: Role, mount: &str, id: &str) -> Client {
    let stream = mount.strip_prefix('/').unwrap_or(mount).to_owned();
    Client { role, stream, id: id.to_owned(), place: String::new() }
}

/// Shows whether the mount is free again, which is later than it leaves the statistics.
pub fn listeners_of(client: &Client) -> Call {
    Call::get(format!("/admin/listclients?mount={}", escaped(&format!("/{}", client.stream))))
}

/// A source that is being ended "is not available", and keeps its mount.
pub fn has_forgotten(reply: &Reply) -> bool {
    reply.status != 200 && reply.body.contains("does not exist")
}

pub fn kick(client: &Client) -> Call {
    let mount = escaped(&format!("/{}", client.stream));
    Call::get(match client.role {
        Role::Publisher => format!("/admin/killsource?mount={mount}"),
        Role::Viewer => format!("/admin/killclient?mount={mount}&id={}", escaped(&client.id)),
    })
}
