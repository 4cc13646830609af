//! The HTTP endpoint: `/live`, `/ready` and `/metrics`.
//!
//! It has a thread and a runtime of its own, so that it answers when the worker's runtime does not, and costs
//! decisions nothing but its share of the processor. It never asks an engine.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::report::{live, ready};
use crate::endpoint::{self, Endpoint};
use crate::worker::context::Context;
use crate::worker::exposition;

/// Connections at a time: some scrapers and probes. More wait until one ends.
const CONNECTIONS_MAX: usize = 16;

/// Time between two sortings of recorded values into their buckets: some thousand of them.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(2);

/// The exposition format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers from now on at `address`, or once the port is free.
pub fn start(context: Arc<Context>, address: SocketAddr) -> io::Result<Endpoint> {
    Endpoint::start(move |stop| run(context, address, stop))
}

async fn run(context: Arc<Context>, address: SocketAddr, stop: CancellationToken) {
    let upkeep = async {
        let mut due = interval(UPKEEP_INTERVAL);
        loop {
            due.tick().await;
            context.metrics.keep_up();
        }
    };
    tokio::select! {
        () = upkeep => {}
        () = serve(&context, address, &stop) => {}
    }
}

async fn serve(context: &Arc<Context>, address: SocketAddr, stop: &CancellationToken) {
    let listening = stop.run_until_cancelled(endpoint::listen(address));
    let Some(listener) = listening.await else { return };
    match listener.local_addr() {
        Ok(address) => {
            info!(%address, "answering /live, /ready and /metrics");
            context.leads.listen_at(address);
        }
        Err(error) => debug!(%error, "the address is not known"),
    }
    endpoint::serve(listener, router(context.clone()), CONNECTIONS_MAX, stop).await;
}

/// `get` answers HEAD, too, and refuses other methods.
fn router(context: Arc<Context>) -> Router {
    Router::new()
        .route("/live", get(get_live))
        .route("/ready", get(get_ready))
        .route("/metrics", get(get_metrics))
        .with_state(context)
}

async fn get_live(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let live = live(&context);
    (status(live.live), Json(live))
}

async fn get_ready(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let ready = ready(&context);
    (status(ready.ready), Json(ready))
}

async fn get_metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT)], exposition::text(&context))
}

fn status(ok: bool) -> StatusCode {
    if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
