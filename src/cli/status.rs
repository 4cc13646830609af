//! `holdfast status`: how the installation is doing, at a glance.

mod gather;
mod report;
mod text;

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use clap::value_parser;

use super::context::Context;
use gather::Sources;

/// Moves to the top of a terminal and clears what is below.
const TO_THE_TOP: &str = "\x1b[H\x1b[J";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Look again and again, every 2 seconds unless another number of them is given, until Ctrl-C
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = value_parser!(u64).range(1..=3_600)
    )]
    watch: Option<u64>,
}

pub(super) async fn run(context: &Context, args: Args) -> Result<()> {
    let mut sources = Sources::default();
    let Some(seconds) = args.watch else {
        let (report, failure) = sources.gather(context).await;
        context.output.print(&report, || text::of(&report))?;
        return failure.map_or(Ok(()), Err);
    };
    let clears = !context.output.json && std::io::stdout().is_terminal();
    loop {
        let (report, _) = sources.gather(context).await;
        if clears {
            context.output.part(TO_THE_TOP)?;
        }
        context.output.print(&report, || text::of(&report))?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}
