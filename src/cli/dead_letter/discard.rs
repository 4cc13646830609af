//! `holdfast dead-letter discard`.

use anyhow::Result;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::lines::{Line, text};
use super::selection::{CHANGED_MAX, Change};
use crate::cli::context::Context;
use crate::cli::output::hint;
use crate::store::admin::dead_letters::{list_letters, update_discarded};

/// Letters per transaction.
const PAGE: i64 = 500;

pub(super) async fn run(context: &Context, database: &Client, change: Change) -> Result<()> {
    let filter = change.selected.filter()?;
    change.why.name(database).await?;
    let (mut after, mut done, mut lines) = (None, 0, Vec::new());
    loop {
        let (filed, more) = list_letters(database, &filter, after, PAGE).await?;
        let ids: Vec<Uuid> = filed.iter().map(|filed| filed.letter.id).collect();
        after = filed.last().map(|filed| (filed.died_at, filed.letter.id));
        lines.extend(filed.iter().map(Line::of));
        if !change.dry_run {
            done += update_discarded(database, &ids).await?;
        }
        if !more {
            break;
        }
        if lines.len() >= CHANGED_MAX {
            hint!("there are more than {CHANGED_MAX}: run it again");
            break;
        }
    }
    let value = json!({ "dry_run": change.dry_run, "letters": lines, "discarded": done });
    context.output.print(&value, || match change.dry_run {
        true => format!("would discard {}\n\n{}", lines.len(), text(&lines)),
        false => format!("discarded {done}"),
    })
}
