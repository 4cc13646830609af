//! What a worker tells the service manager.

use std::time::Duration;

use holdfast::broker::topology::partition_queue;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::support::facts::PATIENCE;
use crate::support::stack::Stack;

/// What the manager hears next that begins with `word`; everything before it is dropped.
async fn heard(socket: &UnixDatagram, word: &str) -> String {
    let mut message = [0; 4_096];
    let next = async {
        loop {
            let length = socket.recv(&mut message).await.expect("a message");
            let text = std::str::from_utf8(&message[..length]).expect("text");
            if let Some(line) = text.lines().find(|line| line.starts_with(word)) {
                return line.to_owned();
            }
        }
    };
    timeout(PATIENCE, next).await.unwrap_or_else(|_| panic!("never told: {word}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_that_a_worker_is_ready_lives_and_stops() {
    let stack = Stack::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let path = path.to_str().expect("text");
    // A third of it is less than the time between two looks without a watchdog.
    let limit = Duration::from_millis(600).as_micros().to_string();
    let manager = [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", limit.as_str())];
    let mut worker = stack.worker_with(&manager);
    heard(&socket, "STATUS=not ready: ").await;
    heard(&socket, "READY=1").await;
    // Ready is not said before it works.
    assert_eq!(stack.depth(&partition_queue(0)).await.1, 1);
    for _ in 0..3 {
        heard(&socket, "WATCHDOG=1").await;
    }
    assert!(worker.stop().await.success());
    heard(&socket, "STOPPING=1").await;
    stack.finish().await;
}
