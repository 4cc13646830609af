//! Answers the streaming server's hooks from memory.
//!
//! "I do not know" is 503, never 403: some servers end running streams that are denied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, HeaderName};
use axum::http::{HeaderValue, Method, Response as HttpResponse, StatusCode};
use chrono::{SecondsFormat, TimeDelta};
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::adapters::{Heard, Outcome, Request as Hook, Response};
use super::metrics::role_word;
use super::state::Gate;
use crate::domain::admission::admit::{Admission, Ask, Decision, admit};
use crate::domain::admission::code::Denial;
use crate::domain::admission::live::{Client, Role};

/// Connections at a time. Servers open one for each hook; more wait until one ends.
pub const CONNECTIONS_MAX: usize = 256;

/// Largest body, in bytes. Hooks send some hundred, and a client may add a URL's length to it.
const BODY_LEN_MAX: usize = 16 * 1024;

/// Bound on an answer. Servers wait a little longer: `netcall_timeout 2s` in the configuration that we ship.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(900);

/// Time between two looks whether a client has gone that another replaces.
const GONE_INTERVAL: Duration = Duration::from_millis(20);

/// Every path: what the streaming server is configured with decides.
pub fn router(gate: Arc<Gate>) -> Router {
    Router::new().fallback(hook).with_state(gate)
}

async fn hook(State(gate): State<Arc<Gate>>, request: Request) -> HttpResponse<Body> {
    let began = Instant::now();
    if request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let Some(event) = event(&gate, &path) else { return plain(StatusCode::NOT_FOUND) };
    if request.body().size_hint().lower() > BODY_LEN_MAX as u64 {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let Ok(Ok(body)) = timeout(ANSWER_TIMEOUT, to_bytes(request.into_body(), BODY_LEN_MAX)).await
    else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let hook = Hook { path: event, body: &body };
    let heard = gate.settings.adapter.hear(hook);
    let asked = asked(&heard);
    let outcome = timeout(ANSWER_TIMEOUT, answer(&gate, heard)).await;
    // Only waiting for a client to go takes longer than a moment.
    let outcome = outcome.unwrap_or(Outcome::Deny(Denial::Busy, None));
    let word = word(outcome);
    if let Outcome::Deny(code, retry_after) = outcome {
        let retry_after_ms = retry_after.map(|after| after.num_milliseconds());
        info!(asked, %code, retry_after_ms, "denied");
    }
    gate.metrics.answered(asked, word, began.elapsed());
    response(&gate, gate.settings.adapter.respond(hook, outcome), outcome)
}

/// The path without the token, which must be right.
fn event<'a>(gate: &Gate, path: &'a str) -> Option<&'a str> {
    let Some(token) = &gate.settings.hook_token else { return Some(path) };
    let (given, event) = path.split_once('/')?;
    // The time that hashes take to compare tells nothing about the token.
    (Sha256::digest(given) == Sha256::digest(token)).then_some(event)
}

async fn answer(gate: &Gate, heard: Heard) -> Outcome {
    match heard {
        Heard::Nothing => Outcome::Noted,
        Heard::Wrong(code) => Outcome::Deny(code, None),
        Heard::Ended { role, id, stream } => {
            ended(gate, role, &id, stream.as_deref());
            Outcome::Noted
        }
        Heard::Ask { ask, place } => match decide(gate, &ask) {
            Decision::Admit(admission) if admission.first.is_empty() => {
                come_in(gate, &ask, admission, place)
            }
            Decision::Admit(_) => replace(gate, &ask, place).await,
            Decision::Deny { code, retry_after } => Outcome::Deny(code, retry_after),
            Decision::Unknown => Outcome::Unknown,
        },
    }
}

fn ended(gate: &Gate, role: Role, id: &str, stream: Option<&str>) {
    let Some(now) = gate.clock.now() else { return };
    let mut known = gate.known();
    if let Some(session) = known.live.ended(now, role, id, stream) {
        let known = &mut *known;
        known.usage.seen(now, known.plan.as_ref(), &session);
        known.usage.left(&session);
    }
}

fn decide(gate: &Gate, ask: &Ask) -> Decision {
    let Some(now) = gate.clock.now() else { return Decision::Unknown };
    let known = gate.known();
    admit(now, known.plan.as_ref(), gate.stale_max(), &known.live, ask)
}

/// Disconnects who is in the way, waits until they are gone, and decides again.
async fn replace(gate: &Gate, ask: &Ask, place: String) -> Outcome {
    let _one_at_a_time = gate.replacing.lock().await;
    let admission = match decide(gate, ask) {
        Decision::Admit(admission) => admission,
        Decision::Deny { code, retry_after } => return Outcome::Deny(code, retry_after),
        Decision::Unknown => return Outcome::Unknown,
    };
    for (session, why) in &admission.first {
        info!(
            client = session.client.id,
            reservation = session.client.stream,
            reason = %why,
            "disconnecting for another"
        );
        gate.metrics.told_to_go((*why).into());
        gate.known().live.told(session.serial, *why);
        if let Err(error) = gate.control.kick(&session.client).await {
            warn!(%error, "a client in the way could not be disconnected");
            return Outcome::Deny(Denial::Busy, None);
        }
    }
    while !gone(gate, &admission).await {
        sleep(GONE_INTERVAL).await;
    }
    let Some(now) = gate.clock.now() else { return Outcome::Unknown };
    {
        let mut known = gate.known();
        for (session, why) in &admission.first {
            known.replaced(now, session, *why);
        }
        if admission.takes_over {
            known.live.take_over(now, admission.reservation);
        }
    }
    come_in(gate, ask, admission, place)
}

/// Whether the server has forgotten those who are replaced. One that does not answer may have them.
async fn gone(gate: &Gate, admission: &Admission) -> bool {
    let clients: Vec<&Client> =
        admission.first.iter().map(|(session, _)| &session.client).collect();
    gate.control.are_gone(&clients).await.unwrap_or(false)
}

fn come_in(gate: &Gate, ask: &Ask, admission: Admission, place: String) -> Outcome {
    let (role, id) = match ask {
        Ask::Publish { client, .. } => (Role::Publisher, client),
        Ask::View { client, .. } => (Role::Viewer, client),
        Ask::Describe { .. } => return Outcome::Admit(admission.reservation),
    };
    let id = id.clone().unwrap_or_default();
    let stream = admission.reservation.to_string();
    info!(role = role_word(role), client = id, reservation = stream, "admitted");
    let client = Client { role, stream, id, place };
    if let Some(now) = gate.clock.now() {
        gate.known().live.admitted(now, client, admission.key);
    }
    Outcome::Admit(admission.reservation)
}

fn asked(heard: &Heard) -> &'static str {
    match heard {
        Heard::Ask { ask: Ask::Publish { .. }, .. } => "publish",
        Heard::Ask { ask: Ask::Describe { .. }, .. } => "describe",
        Heard::Ask { ask: Ask::View { .. }, .. } => "view",
        Heard::Ended { .. } => "ended",
        Heard::Nothing => "nothing",
        Heard::Wrong(_) => "wrong",
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Admit(_) => "admitted",
        Outcome::Deny(code, _) => code.into(),
        Outcome::Unknown => "unknown",
        Outcome::Noted => "noted",
    }
}

fn plain(status: StatusCode) -> HttpResponse<Body> {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// With what every response says: the controller's time, and why somebody stays out until when.
fn response(gate: &Gate, answer: Response, outcome: Outcome) -> HttpResponse<Body> {
    let status = StatusCode::from_u16(answer.status).expect("a status of an adapter");
    let mut response = HttpResponse::new(Body::from(answer.body.clone()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // Icecast's client takes a body without a length for one that never ends.
    headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    let mut all = answer.headers;
    if let Some(now) = gate.clock.now() {
        all.push(("sent-at", now.to_rfc3339_opts(SecondsFormat::Millis, true)));
    }
    if let Outcome::Deny(code, retry_after) = outcome {
        all.push(("holdfast-denial", code.to_string()));
        all.extend(retry_after.map(|after| ("retry-after-ms", milliseconds(after))));
    }
    for (name, value) in all {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Rounded up: a client that waits so long is not too early.
fn milliseconds(after: TimeDelta) -> String {
    (after.num_microseconds().unwrap_or(i64::MAX).saturating_add(999) / 1_000).max(0).to_string()
}
