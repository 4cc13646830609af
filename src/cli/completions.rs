//! `holdfast completions`.

use anyhow::Result;
use clap::Args as ClapArgs;
use clap_complete::{Shell, generate};
use serde_json::json;

use super::context::Context;

const AFTER_HELP: &str = "\
Examples:
  bash   source <(holdfast completions bash)      in ~/.bashrc
  zsh    holdfast completions zsh > _holdfast     in a directory of $fpath
  fish   holdfast completions fish > ~/.config/fish/completions/holdfast.fish";

#[derive(ClapArgs)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(context: &Context, args: &Args, mut command: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut command, "holdfast", &mut script);
    let script = String::from_utf8(script)?;
    let value = json!({ "shell": args.shell.to_string(), "script": script });
    context.output.print(&value, || script.clone())
}
