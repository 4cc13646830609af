//! Serves HTTP with bounds on everything that can hang: for `/live`, `/ready` and `/metrics`, and for the hooks of
//! streaming servers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Bound on a request's head, and on the time until the next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head of a request, in bytes. Scrapers and hooks send some hundred. hyper takes no less.
const HEADER_LEN_MAX: usize = 8_192;

/// Bound on a connection, whatever it is used for. A scraper connects again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Bound on answers that are still written when the process ends.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two tries to take a port that another process has: a process that replaces another takes it
/// soon after that one has ended.
const PORT_INTERVAL: Duration = Duration::from_secs(5);

/// Time after a failed accept: there may be no file left for the connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An endpoint with a thread and a runtime of its own. Dropped, it ends.
pub struct Endpoint {
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Endpoint {
    /// Runs what `serve` makes of a token that is cancelled at the end.
    pub fn start<F: Future<Output = ()>>(
        serve: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let (done, ended) = oneshot::channel();
        let serving = stop.clone();
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(serve(serving));
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

/// Takes the port, as soon as no other process has it.
pub async fn listen(address: SocketAddr) -> TcpListener {
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
                    "cannot listen at {address}: {why}. This process has no /live, /ready and /metrics \
                     until it can. Give each worker and gate of a machine an address of its own with \
                     HOLDFAST_HTTP_LISTEN (--http-listen), or turn it off with off"
                );
            }
            Err(_) => {}
        }
        sleep(PORT_INTERVAL).await;
    }
}

/// Answers until `stop`, at most `connections_max` connections at a time. More wait until one ends.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(connections_max));
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
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    timeout(END_TIMEOUT, places.acquire_many(all)).await.ok();
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
