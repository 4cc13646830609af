//! `holdfast dead-letter list`.

use anyhow::Result;
use serde_json::json;
use tokio_postgres::Client;

use super::lines::{Line, shown, text};
use super::selection::{List, OPEN};
use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::output::{csv_header, csv_rows, hint, table, time};
use crate::store::admin::dead_letters::{
    CAUSES_MAX, Cause, list_causes, list_letters, load_position,
};

pub(super) async fn run(context: &Context, database: &Client, list: List) -> Result<()> {
    let mut filter = list.selection.filter()?;
    if !list.closed {
        filter.states = OPEN.to_vec();
    }
    if list.causes {
        let causes = list_causes(database, &filter).await?;
        let header = ["reason", "terminal", "command", "letters", "first_at", "last_at"];
        return context.output.list(list.csv, &header, &causes, || causes_text(&causes));
    }
    let after = match list.after {
        None => None,
        Some(id) => match load_position(database, id).await? {
            Some(position) => Some(position),
            None => {
                return refuse(format!(
                    "--after {id}: there is no such letter; give an id from the column LETTER"
                ));
            }
        },
    };
    let (filed, more) = list_letters(database, &filter, after, list.limit).await?;
    let lines: Vec<Line> = filed.iter().map(Line::of).collect();
    let next = filed.last().filter(|_| more).map(|filed| filed.letter.id);
    if let Some(next) = next {
        hint!("there are more: repeat it with --after {next}");
    }
    if list.csv.wanted(context.output)? {
        let names = [
            "id",
            "died_at",
            "reason",
            "terminal",
            "routing_key",
            "message_id",
            "times",
            "state",
            "replays",
        ];
        context.output.part(&csv_header(&names)?)?;
        return context.output.part(&csv_rows(&lines)?);
    }
    context.output.print(&json!({ "letters": lines, "next": next }), || text(&lines))
}

fn causes_text(causes: &[Cause]) -> String {
    if causes.is_empty() {
        return "no dead letters".to_owned();
    }
    let row = |cause: &Cause| {
        vec![
            cause.letters.to_string(),
            cause.reason.clone(),
            shown(cause.terminal.as_deref()),
            shown(Some(&cause.command)),
            time(cause.first_at),
            time(cause.last_at),
        ]
    };
    let rows: Vec<Vec<String>> = causes.iter().map(row).collect();
    let mut text = table(&["LETTERS", "REASON", "TERMINAL", "COMMAND", "FIRST", "LAST"], &rows);
    if i64::try_from(causes.len()).is_ok_and(|count| count >= CAUSES_MAX) {
        text.push_str("There may be more causes.\n");
    }
    text
}
