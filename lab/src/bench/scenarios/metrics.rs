//! What it costs to count: requests on a worker that Prometheus scrapes, and on one that counts nothing.

use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast_lab::ports;
use tokio::task::JoinHandle;

use super::requests::{FullLoad, Requests, full_load};
use super::{Bench, Findings};
use crate::rig::{HTTP_LISTEN, Plan, Rig, SERVERS};

/// Time between two scrapes. Prometheus's own default is fifteen times as long.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the worker counts, in the order in which they are measured: a machine that slows down meanwhile
/// slows both.
const TURNS: [bool; 4] = [true, false, false, true];

pub async fn metrics(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    for counts in TURNS {
        let measured = on_a_worker(bench, counts).await?;
        let name = if counts { "scraped" } else { "not counting" };
        findings.figures.push((name, measured.rate));
        findings.costs.push((name, measured.cost));
    }
    Ok(findings)
}

async fn on_a_worker(bench: &Bench, counts: bool) -> Result<FullLoad> {
    let rig = Rig::set_up(&bench.site, Plan::default()).await?;
    let listen = match counts {
        true => format!("127.0.0.1:{}", ports::free(1)?[0]),
        false => "off".to_owned(),
    };
    let worker = rig.worker(&bench.programs, &[(HTTP_LISTEN, listen.clone())])?;
    rig.consumed().await?;
    let scrapes = counts.then(|| scrape(format!("http://{listen}/metrics")));
    let measured = full_load(bench, &rig, Requests::over(SERVERS)).await?;
    if let Some(scrapes) = scrapes {
        scrapes.abort();
        // It only ends by itself if it fails.
        if let Ok(failed) = scrapes.await {
            failed.context("a scrape")?;
        }
    }
    worker.stop()?;
    rig.tear_down().await?;
    Ok(measured)
}

/// Scrapes until aborted, or until a scrape fails.
fn scrape(url: String) -> JoinHandle<Result<()>> {
    tokio::spawn(async move {
        let client = reqwest::Client::new();
        loop {
            let text = client.get(&url).send().await?.error_for_status()?.text().await?;
            text.lines().find(|line| line.starts_with("holdfast_")).context("no metric")?;
            tokio::time::sleep(SCRAPE_INTERVAL).await;
        }
    })
}
