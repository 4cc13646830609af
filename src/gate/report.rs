//! `/live`, `/ready` and `/metrics` of a gate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use serde_json::{Value, json};
use strum::VariantArray;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::checks::Check;
use super::state::Gate;
use crate::domain::admission::live::Role;
use crate::endpoint::{self, Endpoint};

/// Connections at a time: some scrapers and probes.
const CONNECTIONS_MAX: usize = 16;

/// Time between two sortings of recorded values into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(2);

/// The exposition format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers from now on at `address`, or once the port is free.
pub fn start(gate: Arc<Gate>, address: SocketAddr) -> io::Result<Endpoint> {
    Endpoint::start(move |stop| run(gate, address, stop))
}

async fn run(gate: Arc<Gate>, address: SocketAddr, stop: CancellationToken) {
    let listening = stop.run_until_cancelled(endpoint::listen(address));
    let Some(listener) = listening.await else { return };
    if let Ok(address) = listener.local_addr() {
        info!(%address, "answering /live, /ready and /metrics");
    }
    let router = Router::new()
        .route("/live", get(async || Json(json!({ "live": true }))))
        .route("/ready", get(get_ready))
        .route("/metrics", get(get_metrics))
        .with_state(gate.clone());
    let upkeep = async {
        let mut due = interval(UPKEEP_INTERVAL);
        loop {
            due.tick().await;
            gate.metrics.keep_up();
        }
    };
    tokio::select! {
        () = upkeep => {}
        () = endpoint::serve(listener, router, CONNECTIONS_MAX, &stop) => {}
    }
}

async fn get_ready(State(gate): State<Arc<Gate>>) -> impl IntoResponse {
    gate.look_at_plan();
    let checks: Vec<Value> = Check::VARIANTS.iter().map(|check| seen(&gate, *check)).collect();
    let ready = checks.iter().all(|check| check["ok"] == true);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "checks": checks })))
}

fn seen(gate: &Gate, check: Check) -> Value {
    let name: &'static str = check.into();
    match gate.checks.seen(check) {
        None => json!({ "check": name, "ok": true }),
        Some((what, since)) => {
            let wrong = json!([{ "what": what, "seconds": since.elapsed().as_secs() }]);
            json!({ "check": name, "ok": false, "wrong": wrong })
        }
    }
}

async fn get_metrics(State(gate): State<Arc<Gate>>) -> impl IntoResponse {
    gate.look_at_plan();
    for check in Check::VARIANTS {
        gate.metrics.ready((*check).into(), gate.checks.seen(*check).is_none());
    }
    {
        let (now, known) = (gate.clock.now(), gate.known());
        for role in [Role::Publisher, Role::Viewer] {
            let sessions = known.live.sessions().iter();
            let count = sessions.filter(|session| session.client.role == role).count();
            gate.metrics.sessions(role, count);
        }
        if let Some((plan, now)) = known.plan.as_ref().zip(now) {
            gate.metrics.plan(plan.entries().count(), (now - plan.as_of()).as_seconds_f64());
        }
        gate.metrics.lost(known.usage.lost());
    }
    ([(header::CONTENT_TYPE, TEXT)], gate.metrics.render())
}
