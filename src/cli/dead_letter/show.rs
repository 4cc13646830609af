//! `holdfast dead-letter show`.

use anyhow::Result;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::lines::Line;
use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::output::{fields, time};
use crate::message::envelope::printable;
use crate::store::admin::audit::{Change, load_changes};
use crate::store::admin::dead_letters::{Filed, Filter, list_letters};

pub(super) async fn run(context: &Context, database: &Client, id: Uuid) -> Result<()> {
    let filter = Filter { ids: vec![id], ..Filter::default() };
    let (filed, _) = list_letters(database, &filter, None, 1).await?;
    let Some(filed) = filed.first() else {
        return refuse(format!(
            "letter {id}: unknown; list letters with `holdfast dead-letter list`"
        ));
    };
    let id = id.to_string();
    let changes = load_changes(database, &[("dead_letter", id.as_str())]).await?;
    let letter = &filed.letter;
    let mut value = serde_json::to_value(Line::of(filed))?;
    value["partition"] = json!(letter.partition);
    value["type"] = json!(letter.kind);
    value["content_type"] = json!(letter.content_type);
    value["forbidden"] = json!(letter.forbidden);
    value["hopeless"] = json!(letter.hopeless());
    value["body"] = json!(String::from_utf8_lossy(&letter.body));
    value["changes"] = json!(changes);
    context.output.print(&value, || text(filed, &changes))
}

fn text(filed: &Filed, changes: &[Change]) -> String {
    let Filed { letter, is_terminals, died_at, times, state, attempts, closed_at } = filed;
    let shown = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), printable);
    let sender = match (&letter.account, is_terminals) {
        (None, _) => "none".to_owned(),
        (Some(account), true) => format!("{}, a terminal", printable(account)),
        (Some(account), false) => format!("{}, no terminal", printable(account)),
    };
    let replay = letter.hopeless().map_or("may help".to_owned(), |why| format!("in vain: {why}"));
    let head = fields(&[
        ("letter", letter.id.to_string()),
        ("reason", letter.reason.clone()),
        ("died", time(*died_at)),
        ("filed", format!("{times} times")),
        ("state", state.clone()),
        ("closed", closed_at.map_or("-".to_owned(), time)),
        ("replays", attempts.to_string()),
        ("sender", sender),
        ("partition", letter.partition.map_or("-".to_owned(), |partition| partition.to_string())),
        ("routing key", printable(&letter.routing_key)),
        ("message id", shown(&letter.message_id)),
        ("type", shown(&letter.kind)),
        ("content type", shown(&letter.content_type)),
        ("forbidden", shown(&letter.forbidden)),
        ("replay", replay),
        ("bytes", letter.body.len().to_string()),
    ]);
    let change = |change: &Change| {
        let why = change.why.as_deref().unwrap_or("-");
        format!("{}  {} by {}: {why}\n", time(change.at), change.action, change.operator)
    };
    let changes: String = changes.iter().map(change).collect();
    format!("{head}\n{changes}\n{}", body(&letter.body))
}

/// Text as it is, but for control characters; other bytes escaped.
fn body(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
        }
        Err(_) => bytes.escape_ascii().to_string(),
    }
}
