//! Asks a worker's HTTP endpoint, with nothing in between that would ask again.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::facts;
use super::worker::Worker;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The body of `/live` and `/ready`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// What is wrong with a check of `/ready`, if it does not pass.
    pub fn wrong(&self, check: &str) -> Option<String> {
        let ready = self.json();
        let checks = ready["checks"].as_array().expect("checks");
        let found = checks.iter().find(|seen| seen["check"] == check);
        let found = found.unwrap_or_else(|| panic!("no check {check}: {ready}"));
        (found["ok"] == false).then(|| found["wrong"].to_string())
    }
}

/// Where a worker's endpoint is, once it says so.
pub async fn endpoint(worker: &Worker) -> SocketAddr {
    facts::found("the worker has an endpoint", async || {
        let log = worker.log();
        let line = log.lines().find(|line| line.contains("answering /live"))?;
        let (_, address) = line.split_once("address=")?;
        address.split_whitespace().next()?.parse().ok()
    })
    .await
}

/// Sends a text and reads until the end.
pub async fn send(address: SocketAddr, text: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let answer = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

pub async fn try_get(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    send(address, &format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n"))
        .await
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    try_get(address, path).await.expect("an answer")
}

/// Waits until the worker is ready.
pub async fn until_ready(address: SocketAddr) {
    facts::until("the worker is ready", async || get(address, "/ready").await.status == 200).await;
}
