pub mod settings;

/// Runs a worker until `stop` is cancelled, then drains.
pub async fn run(
    _settings: settings::Settings,
    _stop: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
