//! A TCP proxy to an engine that a test can break.
//!
//! It runs on a thread of its own, so that it also works while a test blocks its runtime.

use std::net::SocketAddr;

use holdfast::broker::connection::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

use super::engines::{AMQP_URL, DATABASE_URL};

const CHUNK: usize = 16 << 10;

/// What the proxy does to its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Forwards nothing and keeps the sockets open until a client closes its own.
    Silent,
    /// Resets both sockets.
    Broken,
}

/// Where a connection is reset.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Never,
    /// After so many bytes from the client.
    Up(usize),
    /// After so many bytes from the engine.
    Down(usize),
}

/// A proxy with a port of its own.
pub struct Link {
    port: u16,
    weather: watch::Sender<Weather>,
}

impl Link {
    /// Starts a proxy to the broker that cuts each connection at the same place.
    pub fn open(cut: Cut) -> Self {
        Self::before(AMQP_URL.port().expect("a port"), cut)
    }

    /// Starts a proxy to the database.
    pub fn to_database() -> Self {
        Self::before(DATABASE_URL.port().expect("a port"), Cut::Never)
    }

    fn before(engine: u16, cut: Cut) -> Self {
        let (weather, seen) = watch::channel(Weather::Fair);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(listen(listener, engine, seen, cut));
        });
        Self { port, weather }
    }

    /// A URL of the engine, through this proxy.
    pub fn url(&self, direct: &str) -> String {
        let mut url: Url = direct.parse().expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.port)).expect("a port");
        url.to_string()
    }

    /// The same account, through this proxy.
    pub fn to(&self, endpoint: &Endpoint) -> Endpoint {
        let direct =
            super::engines::amqp_url(endpoint.account(), endpoint.password(), endpoint.vhost());
        self.url(&direct).parse().expect("an AMQP URL")
    }

    pub fn hold(&self) {
        self.weather.send_replace(Weather::Silent);
    }

    /// Waits until no connection is left.
    pub async fn deserted(&self) {
        super::facts::until("all have left", async || self.connections() == 0).await;
    }

    /// How many watches there are of the weather, but for the listener's.
    fn connections(&self) -> usize {
        self.weather.receiver_count() - 1
    }

    /// Resets every connection, and returns when that is done. Blocks instead of waiting, so that it
    /// works while the test's runtime is blocked.
    pub fn reset(&self) {
        self.weather.send_replace(Weather::Broken);
        while self.connections() > 0 {
            std::thread::yield_now();
        }
        self.weather.send_replace(Weather::Fair);
    }
}

/// Serves until the test drops its end.
async fn listen(
    listener: std::net::TcpListener,
    engine: u16,
    mut weather: watch::Receiver<Weather>,
    cut: Cut,
) {
    let listener = TcpListener::from_std(listener).expect("a socket");
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.expect("a connection");
                tokio::spawn(serve(client, engine, weather.clone(), cut));
            }
            changed = weather.changed() => if changed.is_err() { return },
        }
    }
}

async fn serve(
    mut client: TcpStream,
    engine: u16,
    mut weather: watch::Receiver<Weather>,
    cut: Cut,
) {
    let engine: SocketAddr = ([127, 0, 0, 1], engine).into();
    let mut server = TcpStream::connect(engine).await.expect("the engine");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
        // Dropped is reset.
        stream.set_zero_linger().expect("a socket");
    }
    let (up, down) = match cut {
        Cut::Never => (usize::MAX, usize::MAX),
        Cut::Up(bytes) => (bytes, usize::MAX),
        Cut::Down(bytes) => (usize::MAX, bytes),
    };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let (seen, mut told) = (weather.clone(), weather.clone());
    let down = async {
        pump(from_server, to_client, down, seen.clone()).await;
        // Also that the engine has left is not passed on.
        told.wait_for(|now| *now != Weather::Silent).await.ok();
    };
    tokio::select! {
        () = pump(from_client, to_server, up, seen.clone()) => {}
        () = down => {}
        _ = weather.wait_for(|now| *now == Weather::Broken) => {}
    }
}

/// Passes on so many bytes, or until either end leaves.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut left: usize,
    weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; CHUNK];
    while left > 0 {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if *weather.borrow() == Weather::Silent {
            continue;
        }
        let fits = count.min(left);
        if to.write_all(&buffer[..fits]).await.is_err() {
            return;
        }
        left -= fits;
    }
}
