//! More partitions and workers where waiting is the limit and not the processors: a delay between
//! the workers and the database, and small batches.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

use super::requests::{Requests, full_load};
use super::{Figures, Scale};
use crate::process::Programs;
use crate::rig::{Plan, Rig, SERVERS};

/// A round trip through the proxy takes so much longer.
const DELAY: Duration = Duration::from_millis(20);

const BATCH: usize = 64;

pub async fn scale_out(programs: &Programs, scale: &Scale) -> Result<Figures> {
    let mut figures = Vec::new();
    for (partitions, name) in [
        (1, "1 partition, 1 worker"),
        (2, "2 partitions, 2 workers"),
        (4, "4 partitions, 4 workers"),
    ] {
        let plan = Plan { partitions, ..Plan::default() };
        let rig = Rig::set_up(&plan).await?;
        let settings = [
            ("DATABASE_URL", slow(&rig.database_url).await?),
            ("HOLDFAST_BATCH_MAX", BATCH.to_string()),
        ];
        let workers: Vec<_> =
            (0..partitions).map(|_| rig.worker(programs, &settings)).collect::<Result<_>>()?;
        rig.consumed(partitions).await?;
        figures.push((name, full_load(&rig, Requests::over(SERVERS), scale).await?));
        for worker in workers {
            worker.stop()?;
        }
        rig.tear_down().await?;
    }
    Ok(figures)
}

/// The database's URL through a proxy that delays.
async fn slow(database_url: &str) -> Result<String> {
    let mut url: Url = database_url.parse()?;
    let target = (url.host_str().context("a host")?.to_owned(), url.port().unwrap_or(5432));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    url.set_port(Some(listener.local_addr()?.port())).ok();
    url.set_host(Some("127.0.0.1"))?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&target).await else { continue };
            client.set_nodelay(true).ok();
            server.set_nodelay(true).ok();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(forward(from_client, to_server));
            tokio::spawn(forward(from_server, to_client));
        }
    });
    Ok(url.to_string())
}

/// Hands everything on, half of the delay later.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(1_000);
    tokio::spawn(async move {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer).await {
        let piece = (Instant::now() + DELAY / 2, buffer[..length].to_vec());
        if length == 0 || sender.send(piece).await.is_err() {
            return;
        }
    }
}
