use holdfast::config::{AMQP_URL, Config, DATABASE_URL};
use tokio::signal::unix::{SignalKind, signal};
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(std::env::var("RUST_LOG").unwrap())
        .with_writer(std::io::stderr)
        .init();
    #[cfg(feature = "failpoints")]
    let _s = fail::FailScenario::setup();
    let config = Config::read(|_| None, |n| std::env::var(n).ok(), &[DATABASE_URL, AMQP_URL])?;
    let stop = tokio_util::sync::CancellationToken::new();
    let s2 = stop.clone();
    let mut term = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        term.recv().await;
        s2.cancel();
    });
    holdfast::worker::run(config.worker()?, stop).await
}
