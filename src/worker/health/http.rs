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
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::report::{live, ready};
use crate::worker::context::Context;
use crate::worker::exposition;

/// Connections at a time: some scrapers and probes. More wait until one ends.
const CONNECTIONS_MAX: usize = 16;

/// Bound on a request's head, and on the time until the next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head of a request, in bytes. Scrapers send some hundred. hyper takes no less.
const HEADER_LEN_MAX: usize = 8_192;

/// Bound on a connection, whatever it is used for. A scraper connects again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Bound on answers that are still written when the worker ends.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two tries to take a port that another process has: a worker that replaces another takes it
/// soon after that one has ended.
const PORT_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two sortings of recorded values into their buckets: some thousand of them.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Time after a failed accept: there may be no file left for the connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The exposition format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The running endpoint. Dropped, it ends.
pub struct Endpoint {
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Endpoint {
    /// Answers from now on at `address`, or once the port is free.
    pub fn start(context: Arc<Context>, address: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let (done, ended) = oneshot::channel();
        let serving = stop.clone();
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(run(context, address, serving));
            done.send(()).ok(); // nobody may wait
        })?;
        Ok(Self { stop, ended })
    }

    /// Finishes the answers that are being written, within [`END_TIMEOUT`].
    pub async fn end(mut self) {
        self.stop.cancel();
        // The thread bounds itself; this is for one that gets no processor.
        timeout(2 * END_TIMEOUT, &mut self.ended).await.ok();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
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
    let Some(listener) = stop.run_until_cancelled(listen(address)).await else { return };
    match listener.local_addr() {
        Ok(address) => {
            info!(%address, "answering /live, /ready and /metrics");
            context.leads.listen_at(address);
        }
        Err(error) => debug!(%error, "the address is not known"),
    }
    let router = router(context.clone());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("never closed");
            listener.accept().await.map(|(stream, _)| (stream, place))
        };
        let Some(accepted) = stop.run_until_cancelled(accepted).await else { break };
        match accepted {
            Ok((stream, place)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tokio::spawn(async move {
                    let _place = place;
                    answer(stream, router, stop).await;
                });
            }
            Err(error) => {
                debug!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    timeout(END_TIMEOUT, places.acquire_many(all)).await.ok();
}

/// Takes the port, as soon as no other process has it.
async fn listen(address: SocketAddr) -> TcpListener {
    let mut logged = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if !logged => {
                logged = true;
                let taken = error.kind() == io::ErrorKind::AddrInUse;
                let why =
                    if taken { "another process has it".to_owned() } else { error.to_string() };
                warn!(
                    %address,
                    "cannot listen at {address}: {why}. This worker has no /live, /ready and /metrics \
                     until it can. Give each worker of a machine an address of its own with \
                     HOLDFAST_HTTP_LISTEN (--http-listen), or turn it off with off"
                );
            }
            Err(_) => {}
        }
        sleep(PORT_INTERVAL).await;
    }
}

async fn answer(stream: TcpStream, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_LEN_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let finished = async {
        tokio::select! {
            finished = connection.as_mut() => return finished,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    match timeout(CONNECTION_TIMEOUT, finished).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "an HTTP connection broke"),
        Err(_) => debug!("an HTTP connection has ended after {} s", CONNECTION_TIMEOUT.as_secs()),
    }
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
