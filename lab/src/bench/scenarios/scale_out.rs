//! More partitions and workers where waiting is the limit, and not the processors: with a delay
//! between workers and database, and small batches. Then workers that start and stop.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

use super::requests::{Requests, WINDOW, done, full_load};
use super::{Bench, Findings};
use crate::load::Load;
use crate::process::Process;
use crate::rig::{MANY, Plan, Rig, SERVERS};

/// Additional time of a round trip through the proxy.
const DELAY: Duration = Duration::from_millis(20);

/// A batch size so small that waiting is the limit, even with four workers.
const BATCH: usize = 32;

/// Time between starts and stops of workers.
const CHANGE: Duration = Duration::from_secs(4);

type Settings = [(&'static str, String); 2];

async fn settings(rig: &Rig<'_>) -> Result<Settings> {
    let slow = slow(&rig.database_url).await?;
    Ok([("DATABASE_URL", slow), ("HOLDFAST_BATCH_MAX", BATCH.to_string())])
}

pub async fn scale_out(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    for (partitions, name) in [
        (1, "1 partition, 1 worker"),
        (2, "2 partitions, 2 workers"),
        (4, "4 partitions, 4 workers"),
    ] {
        let rig = Rig::set_up(&bench.site, Plan { partitions, terminals: MANY, ..Plan::default() })
            .await?;
        let settings = settings(&rig).await?;
        let workers = (0..partitions).map(|_| rig.worker(&bench.programs, &settings));
        let workers: Vec<Process> = workers.collect::<Result<_>>()?;
        rig.consumed().await?;
        // Wait until every worker has its share.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let measured = full_load(bench, &rig, Requests::over(SERVERS)).await?;
        findings.figures.push((name, measured.rate));
        findings.costs.push((name, measured.cost));
        for worker in workers {
            worker.stop()?;
        }
        rig.tear_down().await?;
    }
    coming_and_going(bench, &mut findings).await?;
    Ok(findings)
}

/// Four partitions while workers start and stop. Every command must be answered.
async fn coming_and_going(bench: &Bench, findings: &mut Findings) -> Result<()> {
    let plan = Plan { terminals: MANY, ..Plan::default() };
    let rig = Rig::set_up(&bench.site, plan).await?;
    let settings = settings(&rig).await?;
    let mut workers = std::collections::VecDeque::new();
    for _ in 0..4 {
        workers.push_back(rig.worker(&bench.programs, &settings)?);
    }
    rig.consumed().await?;
    let script = std::sync::Arc::new(Requests::over(SERVERS));
    let load = Load::start(rig.terminals().await?, script, false, true);
    load.fill(WINDOW / 2);
    tokio::time::sleep(bench.scale.warm_up).await;
    let (began, before) = (Instant::now(), done(&load.counts));
    let mut changes = 0;
    while began.elapsed() < bench.scale.coming_and_going {
        // Stop one, then start one: there are three and four in turn.
        match workers.len() {
            4 => stop(workers.pop_front()).await?,
            _ => workers.push_back(rig.worker(&bench.programs, &settings)?),
        }
        changes += 1;
        tokio::time::sleep(CHANGE).await;
    }
    let measured = done(&load.counts) - before;
    let rate = measured as f64 / began.elapsed().as_secs_f64();
    let counts = load.counts.clone();
    load.finish().await?;
    findings.figures.push(("workers come and go", rate));
    findings.notes.push(format!(
        "workers come and go: {changes} changes, all of {} answers came",
        done(&counts)
    ));
    for worker in workers {
        worker.stop()?;
    }
    rig.tear_down().await
}

/// Stops one without interrupting the load.
async fn stop(worker: Option<Process>) -> Result<()> {
    match worker {
        Some(worker) => tokio::task::spawn_blocking(|| worker.stop()).await?,
        None => Ok(()),
    }
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

/// Passes on all data, delayed by half of the round trip's delay.
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
