//! `holdfast man`: manual pages.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use clap_mangen::Man;
use serde_json::json;

use super::context::Context;

#[derive(ClapArgs)]
#[command(after_help = "\
Example: read them, then install them
  holdfast man | man -l -
  holdfast man /usr/local/share/man/man1")]
pub(super) struct Args {
    /// Directory that gets one page per command; without it, the page holdfast(1) is printed
    directory: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: Args, command: clap::Command) -> Result<()> {
    let Some(directory) = args.directory else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        let page = String::from_utf8(page)?;
        return context.output.print(&json!({ "page": page }), || page.clone());
    };
    let written = clap_mangen::generate_to(command, &directory);
    written.with_context(|| format!("writing manual pages to {}", directory.display()))?;
    let shown = directory.display().to_string();
    context
        .output
        .print(&json!({ "directory": shown }), || format!("wrote manual pages to {shown}"))
}
