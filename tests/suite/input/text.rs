//! What can be wrong with texts: timestamps, intervals, ids, and strings that mean harm.

use serde_json::json;

use super::message::Message;
use super::{Case, accepted, refused, under_key};
use crate::support::terminal::window;

pub fn cases(terminal: &str) -> Vec<Case> {
    let mut cases = timestamps(terminal);
    cases.extend(intervals(terminal));
    cases.extend(harmful(terminal));
    cases.extend(ids(terminal));
    cases
}

fn request(terminal: &str, start: &str, end: &str) -> Message {
    let body = json!({ "start_at": start, "end_at": end });
    Message::command(terminal, "request", body.to_string())
}

/// A query that names a server in its body.
fn availability(terminal: &str, server: &str, start: &str, end: &str) -> Message {
    let body = json!({ "server": server, "start_at": start, "end_at": end });
    Message::command(terminal, "availability", body.to_string())
}

/// PostgreSQL or a lenient parser would take most of these.
const TIMESTAMPS: [&str; 50] = [
    "",
    " ",
    "now",
    "epoch",
    "today",
    "infinity",
    "-infinity",
    "2031-05-01",
    "18:00:00Z",
    "2031-05-01T18:00:00",
    "2031-05-01T18:00Z",
    "2031-05-01 18:00:00Z",
    "2031-05-01t18:00:00Z",
    " 2031-05-01T18:00:00Z",
    "2031-05-01T18:00:00Z ",
    "2031-05-01T18:00:00Z\n",
    "2031-05-01T18:00:00ZZ",
    "20310501T180000Z",
    "2031-W18-4T18:00:00Z",
    "2031-121T18:00:00Z",
    "1935424800",
    "1935424800Z",
    // Skipped and doubled by the clocks of Berlin; without an offset no instant at all.
    "2031-03-30T02:30:00",
    "2031-10-26T02:30:00",
    "2031-03-30T02:30:00 Europe/Berlin",
    "2031-10-26T02:30:00[Europe/Berlin]",
    "2031-05-01T18:00:00 CEST",
    "2031-05-01T18:00:00+0200",
    "2031-05-01T18:00:00+02",
    "2031-05-01T18:00:00+24:00",
    "2031-05-01T18:00:00+02:60",
    "2031-05-01T18:00:00+02:00:00",
    "2031-05-01T18:00:00\u{2212}02:00",
    "2031-05-01T18:00:00.0000000001Z",
    "2031-05-01T18:00:00.0000000000+02:00",
    "2031-05-01T18:00:60Z",
    "2031-12-31T23:59:60Z",
    "2031-12-31T23:59:60.5+00:00",
    "2031-05-01T18:00:61Z",
    "2031-05-01T24:00:00Z",
    "2031-05-01T18:60:00Z",
    "2031-02-29T18:00:00Z",
    "2031-13-01T18:00:00Z",
    "2031-00-01T18:00:00Z",
    "10000-01-01T00:00:00Z",
    "+10000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "0000-01-01T00:00:00+23:59",
    "２０３１-05-01T18:00:00Z",
];

fn timestamps(terminal: &str) -> Vec<Case> {
    let (start, end) = window(86_400, 60);
    let (start, end) = (start.to_rfc3339(), end.to_rfc3339());
    let mut cases = Vec::new();
    for wrong in TIMESTAMPS.into_iter().chain([
        "2031-05-01T18:00:00.Z",
        "2031-05-01T18:00:00,5Z",
        "2031-05-01T18:00:00z",
    ]) {
        let message = request(terminal, wrong, &end);
        cases.push(refused(format!("from {wrong:?}"), message, "invalid_timestamp", "start_at"));
        let message = request(terminal, &start, wrong);
        cases.push(refused(format!("to {wrong:?}"), message, "invalid_timestamp", "end_at"));
    }
    cases
}

fn intervals(terminal: &str) -> Vec<Case> {
    let from = "2031-05-01T18:00:00Z";
    let mut cases = Vec::new();
    for to in [
        from,
        "2031-05-01T17:59:59Z",
        "2031-05-01T20:00:00+02:00",
        "2031-05-01T18:30:00+01:00",
        "2031-05-01T17:59:59.999999999Z",
        "0000-01-01T00:00:00Z",
    ] {
        let message = request(terminal, from, to);
        cases.push(refused(format!("{from} to {to}"), message, "invalid_interval", "end_at"));
    }
    let (start, end) = window(86_400, 60);
    let local = |at: chrono::DateTime<chrono::Utc>, hours: i32| {
        let zone = chrono::FixedOffset::east_opt(hours * 3_600).expect("an offset");
        at.with_timezone(&zone).to_rfc3339()
    };
    let message = request(terminal, &local(start, 14), &local(end, -12));
    cases.push(accepted("an interval that only looks inverted", message));
    cases
}

fn harmful(terminal: &str) -> Vec<Case> {
    let (start, end) = window(86_400, 60);
    let (start, end) = (start.to_rfc3339(), end.to_rfc3339());
    let long = "a".repeat(10_000);
    let mut cases = Vec::new();
    for harm in [
        "\0",
        "cam\0",
        "'; drop table reservations; --",
        "cam' or '1'='1",
        "$1",
        "%s%n%x",
        "${jndi:ldap://example.org/a}",
        "{{7*7}}",
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "\u{1b}[31mred\u{1b}[0m",
        "cam\r\nlevel=error",
        "\u{202e}mac",
        "cam\u{feff}",
        "😀",
        &long,
    ] {
        let name = |field: &str| format!("{field} {harm:.30?}");
        let message = availability(terminal, harm, &start, &end);
        cases.push(refused(name("server"), message, "invalid_text", "server"));
        let message =
            under_key(request(terminal, &start, &end), format!("{terminal}.request.{harm}"));
        cases.push(refused(name("routing key"), message, "invalid_text", "routing_key"));
        let message = request(terminal, harm, &end);
        cases.push(refused(name("start_at"), message, "invalid_timestamp", "start_at"));
        let message = request(terminal, &start, harm);
        cases.push(refused(name("end_at"), message, "invalid_timestamp", "end_at"));
        for kind in ["reconfirm", "withdraw", "show"] {
            let body = json!({ "reservation": harm }).to_string();
            let message = Message::command(terminal, kind, body);
            cases.push(refused(name(kind), message, "invalid_text", "reservation"));
        }
    }
    cases
}

fn ids(terminal: &str) -> Vec<Case> {
    let (start, end) = window(86_400, 60);
    let (start, end) = (start.to_rfc3339(), end.to_rfc3339());
    let mut cases = Vec::new();
    let long = "c".repeat(65);
    for server in
        ["", "Cam", "CAM", "cam ", "cam.1", "ca_m", "саm", "ｃam", "cám", "ca\u{301}m", &long]
    {
        let message = availability(terminal, server, &start, &end);
        cases.push(refused(format!("server {server:?}"), message, "invalid_text", "server"));
    }
    for id in [
        "",
        "0",
        "00000000000000000000000000000000",
        "{00000000-0000-0000-0000-000000000000}",
        "urn:uuid:00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-00000000000",
        "00000000-0000-0000-0000-0000000000000",
        "00000000-0000-0000-0000-00000000000g",
        "00000000-0000-0000-0000_000000000000",
        "0000000-00000-0000-0000-000000000000",
        "00000000-0000-0000-0000-00000000000\u{0660}", // a zero of another script
        " 0000000-0000-0000-0000-000000000000",
    ] {
        let message = Message::command(terminal, "show", json!({ "reservation": id }).to_string());
        cases.push(refused(format!("reservation {id:?}"), message, "invalid_text", "reservation"));
    }
    cases
}
