//! A TCP proxy that injects network faults. It runs in user space, needs no privileges, and draws
//! its choices from a seed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::pick::Pick;

/// Most bytes read at once.
const CHUNK: usize = 16 * 1024;

/// How much of a chunk is sent byte by byte. Sending all of it so would only use processor time.
const SLICED: usize = 256;

/// How a link treats connections.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Passes nothing, without an error.
    pub hold_up: bool,
    pub hold_down: bool,
    /// Refuses new connections.
    pub closed: bool,
    /// Delays each chunk by a fixed time and a random one.
    pub latency: Option<(Duration, Duration)>,
    /// Passes one byte at a time.
    pub sliced: bool,
    /// Limits the rate, in bytes per second.
    pub rate: Option<u64>,
    /// Resets a connection after so many bytes.
    pub cut_after: Option<u64>,
}

impl Weather {
    fn holds(&self, direction: Direction) -> bool {
        match direction {
            Direction::Up => self.hold_up,
            Direction::Down => self.hold_down,
        }
    }

    /// Whether it affects data in that direction.
    fn harms(&self, direction: Direction) -> bool {
        self.holds(direction) || self.latency.is_some() || self.rate.is_some() || self.sliced
    }
}

/// Direction of data: from the client, or to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// How a pump ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Cut,
}

/// What a link has done to connections since it was opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Harm {
    /// Connections broken.
    pub broken: u64,
    /// Connections refused.
    pub refused: u64,
    /// Chunks that were delayed, split or lost.
    pub pieces: u64,
}

/// One link to an engine, with its own port.
pub struct Link {
    pub name: String,
    pub port: u16,
    weather: watch::Sender<Weather>,
    /// Counts resets of all connections.
    resets: watch::Sender<u64>,
    connections: AtomicU64,
    /// The engine to which new connections lead.
    engine: Mutex<SocketAddr>,
    harm: Mutex<Harm>,
    seed: u64,
}

impl Link {
    /// Listens until the program ends.
    pub async fn open(name: String, engine: SocketAddr, seed: u64) -> Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port")?;
        let port = listener.local_addr()?.port();
        let link = Arc::new(Self {
            name,
            port,
            weather: watch::Sender::new(Weather::default()),
            resets: watch::Sender::new(0),
            connections: AtomicU64::new(0),
            engine: Mutex::new(engine),
            harm: Mutex::default(),
            seed,
        });
        tokio::spawn(link.clone().listen(listener));
        Ok(link)
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Leads new connections to another engine. Old ones stay.
    pub fn lead_to(&self, engine: SocketAddr) {
        *self.engine.lock().expect("no panics") = engine;
    }

    pub fn harm(&self) -> Harm {
        *self.harm.lock().expect("no panics")
    }

    fn harmed(&self, harm: impl FnOnce(&mut Harm)) {
        harm(&mut self.harm.lock().expect("no panics"));
    }

    /// Breaks every connection.
    pub fn reset(&self) {
        self.harmed(|harm| harm.broken += self.resets.receiver_count() as u64);
        self.resets.send_modify(|count| *count += 1);
    }

    async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => drop(tokio::spawn(self.clone().serve(client))),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn serve(self: Arc<Self>, mut client: TcpStream) {
        let engine = *self.engine.lock().expect("no panics");
        let mut resets = self.resets.subscribe();
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let closed = self.weather.borrow().closed;
        let server = if closed { None } else { TcpStream::connect(engine).await.ok() };
        if closed {
            self.harmed(|harm| harm.refused += 1);
        }
        let Some(mut server) = server else {
            client.set_zero_linger().ok();
            return;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let broken = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let mut up = std::pin::pin!(self.pump(Direction::Up, number, from_client, to_server));
            let mut down =
                std::pin::pin!(self.pump(Direction::Down, number, from_server, to_client));
            tokio::select! {
                end = &mut up => end == End::Cut || down.await == End::Cut,
                end = &mut down => end == End::Cut || up.await == End::Cut,
                _ = resets.changed() => true,
            }
        };
        if broken {
            client.set_zero_linger().ok();
            server.set_zero_linger().ok();
        }
    }

    async fn pump(
        &self,
        direction: Direction,
        number: u64,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> End {
        let mut weather = self.weather.subscribe();
        let mut pick = Pick::new(self.seed, number * 2 + u64::from(direction == Direction::Up));
        let mut buffer = vec![0; CHUNK];
        // Counted since the last change of the fault.
        let mut passed = 0;
        loop {
            let read = tokio::select! {
                read = from.read(&mut buffer) => read,
                _ = weather.changed() => {
                    passed = 0;
                    continue;
                }
            };
            let Some(count @ 1..) = read.ok() else { break };
            if weather.borrow().harms(direction) {
                self.harmed(|harm| harm.pieces += 1);
            }
            open_way(&mut weather, direction).await;
            let now = weather.borrow().clone();
            let left = now.cut_after.map(|limit| limit.saturating_sub(passed));
            let fits = left.map_or(count, |left| count.min(usize::try_from(left).unwrap_or(count)));
            if forward(&mut to, &buffer[..fits], &now, &mut pick).await.is_err() {
                break;
            }
            if fits < count {
                self.harmed(|harm| harm.broken += 1);
                return End::Cut;
            }
            passed += count as u64;
        }
        to.shutdown().await.ok();
        End::Closed
    }
}

/// Waits while the link is held. Data read meanwhile arrives afterwards, as after a cable is
/// plugged in again.
async fn open_way(weather: &mut watch::Receiver<Weather>, direction: Direction) {
    weather.wait_for(|now| !now.holds(direction)).await.ok();
}

async fn forward(
    to: &mut WriteHalf<'_>,
    bytes: &[u8],
    weather: &Weather,
    pick: &mut Pick,
) -> std::io::Result<()> {
    if let Some((latency, jitter)) = weather.latency {
        sleep(latency + jitter.mul_f64(pick.fraction())).await;
    }
    if let Some(rate) = weather.rate {
        sleep(Duration::from_secs_f64(bytes.len() as f64 / rate as f64)).await;
    }
    let sliced = if weather.sliced { bytes.len().min(SLICED) } else { 0 };
    for byte in &bytes[..sliced] {
        to.write_all(std::slice::from_ref(byte)).await?;
        tokio::task::yield_now().await;
    }
    to.write_all(&bytes[sliced..]).await
}
