//! Which letters a command is about.

use anyhow::{Context as _, Result};
use clap::Args;
use uuid::Uuid;

use crate::cli::exit::refuse;
use crate::cli::output::Csv;
use crate::cli::when::When;
use crate::cli::why::WhyUnlessDry;
use crate::domain::interval::Timestamp;
use crate::store::admin::dead_letters::Filter;

/// Letters per command that changes them. Each leaves a row in the audit.
pub(super) const CHANGED_MAX: usize = 10_000;

/// Open ones, also those whose replay was interrupted.
pub(super) const OPEN: [&str; 2] = ["open", "replaying"];

#[derive(Args, Default)]
pub(super) struct Selection {
    /// Only those that died for this reason, such as internal_error; may be repeated
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// Only those that this terminal sent, or another account
    #[arg(long, value_name = "ID")]
    terminal: Option<String>,
    /// Only those that died then or later, such as -1d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<When>,
    /// Only those that died before, such as -1h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<When>,
}

#[derive(Args)]
pub(super) struct Selected {
    /// Ids of letters, as listed
    #[arg(value_name = "LETTER")]
    ids: Vec<Uuid>,
    #[command(flatten)]
    selection: Selection,
    /// All open letters
    #[arg(long, conflicts_with_all = ["ids", "reason", "terminal", "from", "to"])]
    all: bool,
}

#[derive(Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Print one line per reason, sender and command instead
    #[arg(long)]
    pub(super) causes: bool,
    /// Also those that were replayed or discarded
    #[arg(long)]
    pub(super) closed: bool,
    /// Most letters to print
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "causes",
          value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub(super) limit: i64,
    /// Only those behind this letter: the next page
    #[arg(long, value_name = "LETTER", conflicts_with = "causes")]
    pub(super) after: Option<Uuid>,
    #[command(flatten)]
    pub(super) csv: Csv,
}

#[derive(Args)]
pub(in crate::cli) struct Change {
    #[command(flatten)]
    pub(super) selected: Selected,
    /// Print what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) why: WhyUnlessDry,
}

impl Selection {
    fn is_empty(&self) -> bool {
        let Self { reason, terminal, from, to } = self;
        reason.is_empty() && terminal.is_none() && from.is_none() && to.is_none()
    }

    pub(super) fn filter(&self) -> Result<Filter> {
        let now = When::now();
        let resolve = |when: Option<When>, flag: &str| -> Result<Option<Timestamp>> {
            let Some(when) = when else { return Ok(None) };
            let resolved = when.resolve(now);
            Ok(Some(resolved.with_context(|| format!("{flag} is beyond the calendar"))?))
        };
        Ok(Filter {
            reasons: self.reason.clone(),
            account: self.terminal.clone(),
            from: resolve(self.from, "--from")?,
            to: resolve(self.to, "--to")?,
            ..Filter::default()
        })
    }
}

impl Selected {
    /// Refuses to select all by leaving something out.
    pub(super) fn filter(&self) -> Result<Filter> {
        if !self.all && self.ids.is_empty() && self.selection.is_empty() {
            return refuse(
                "no letter is selected; name letters, filter them by --reason, --terminal, --from or --to, \
                 or take --all open ones",
            );
        }
        let filter = self.selection.filter()?;
        Ok(Filter { ids: self.ids.clone(), states: OPEN.to_vec(), ..filter })
    }
}
