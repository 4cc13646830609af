//! Access keys: who gets one and when, and what becomes of the time that it opens.

mod closing;
mod handover;
mod rotation;

use holdfast::domain::access::Key;
use holdfast::domain::id::ServerId;
use holdfast::message::answer::{Answer, Connection, Notice, ReservationView};
use uuid::Uuid;

use crate::support::facts;
use crate::support::secret::SecretFile;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, window};
use crate::support::worker::Worker;

const SECRET_FILE: &str = "HOLDFAST_ACCESS_SECRET_FILE";

/// A server with the key in its URL, which confirms at once what is booked late.
async fn camera(stack: &Stack, capacity: i32) -> ServerId {
    let columns = [
        ("capacity", &capacity as _),
        ("late_booking", &"confirm" as _),
        ("lead_seconds", &3_600 as _),
        ("connection_url", &"rtmp://cam.example/live/{key}" as _),
        ("view_url", &"https://watch.example/{reservation}" as _),
    ];
    stack.server("cam", &columns).await
}

fn worker(stack: &Stack, file: &SecretFile) -> Worker {
    stack.worker_with(&[(SECRET_FILE, file.path().as_str())])
}

/// Every key that notices have brought for a reservation, in order.
fn keys_of(terminal: &Terminal, id: Uuid) -> Vec<Key> {
    let about = |notice: &Notice| notice.reservation().id == id;
    let key = |notice: Notice| connection(notice.reservation()).key;
    terminal.notices().into_iter().filter(about).filter_map(key).collect()
}

fn connection(reservation: &ReservationView) -> Connection {
    reservation.connection.clone().expect("connection data")
}

async fn nth_key(terminal: &Terminal, id: Uuid, n: usize) -> Key {
    facts::found(&format!("key {n} of {id}"), async || keys_of(terminal, id).into_iter().nth(n - 1))
        .await
}

/// What `show` tells of a reservation's connection.
async fn shown(terminal: &mut Terminal, id: Uuid) -> Connection {
    match terminal.show(id).await {
        Answer::Shown { reservation, .. } => connection(&reservation),
        other => panic!("{other:?}"),
    }
}

/// Books what is confirmed at once.
async fn booked(terminal: &mut Terminal, server: &ServerId, start: i64) -> ReservationView {
    let booked = terminal.accepted(server, window(start, 600)).await;
    assert_eq!(booked.state, "confirmed");
    booked
}
