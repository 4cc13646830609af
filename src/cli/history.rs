//! `holdfast server history`, `user history` and `policy history`.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::context::Context;
use super::exit::refuse;
use super::output::{table, time};
use crate::domain::id::{ServerId, UserId};
use crate::domain::money::money;
use crate::store::admin::audit::{Change, HISTORY_MAX, TariffLine, load_changes, load_tariffs};
use crate::store::admin::terminals::list_terminals;

#[derive(Serialize)]
struct ServerHistory {
    tariffs: Vec<TariffLine>,
    changes: Vec<Change>,
}

pub(super) async fn server(context: &Context, id: &ServerId) -> Result<()> {
    let client = context.database().await?;
    let objects = [("server", id.as_str()), ("server_closure", id.as_str())];
    let changes = load_changes(&client, &objects).await?;
    let tariffs = load_tariffs(&client, id).await?;
    if changes.is_empty() && tariffs.is_empty() {
        return refuse(format!("server {id}: unknown; list servers with `holdfast server list`"));
    }
    let history = ServerHistory { tariffs, changes };
    context.output.print(&history, || {
        let row = |tariff: &TariffLine| {
            let price = money(tariff.rate_minor.into(), &tariff.currency);
            vec![tariff.version.to_string(), price, time(tariff.from_at)]
        };
        let tariffs: Vec<Vec<String>> = history.tariffs.iter().map(row).collect();
        let tariffs = table(&["TARIFF VERSION", "PER HOUR", "FROM"], &tariffs);
        format!("{tariffs}\n{}", text(&history.changes))
    })
}

/// With the user's terminals.
pub(super) async fn user(context: &Context, id: &UserId) -> Result<()> {
    let client = context.database().await?;
    let terminals = list_terminals(&client, Some(id)).await?;
    let mut objects = vec![("user", id.as_str())];
    objects.extend(terminals.iter().map(|terminal| ("terminal", terminal.id.as_str())));
    let changes = load_changes(&client, &objects).await?;
    if changes.is_empty() {
        return refuse(format!("user {id}: unknown; list users with `holdfast user list`"));
    }
    context.output.print(&changes, || text(&changes))
}

/// With the number of partitions, which all share, too.
pub(super) async fn policy(context: &Context) -> Result<()> {
    let client = context.database().await?;
    // Tables of one row, whose key is true.
    let changes = load_changes(&client, &[("policy", "true"), ("topology", "true")]).await?;
    context.output.print(&changes, || text(&changes))
}

fn text(changes: &[Change]) -> String {
    let row = |change: &Change| vec![time(change.at), change.operator.clone(), what(change)];
    let rows: Vec<Vec<String>> = changes.iter().map(row).collect();
    let mut text = table(&["WHEN", "OPERATOR", "CHANGE"], &rows);
    if i64::try_from(changes.len()).is_ok_and(|count| count >= HISTORY_MAX) {
        text.push_str(&format!(
            "Earlier changes are not shown: there are {HISTORY_MAX} or more.\n"
        ));
    }
    text
}

fn what(change: &Change) -> String {
    let Change { kind, object, action, before, after, .. } = change;
    let name = match kind.as_str() {
        "policy" | "topology" => kind.clone(),
        _ => format!("{} {object}", kind.replace('_', " ")),
    };
    let settings: Vec<String> = match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let change = |(field, was): (&String, &Value)| {
                let is = after.get(field).unwrap_or(&Value::Null);
                format!("{field} {} -> {}", plain(was), plain(is))
            };
            before.iter().map(change).collect()
        }
        (Some(Value::Object(only)), _) | (_, Some(Value::Object(only))) => {
            only.iter().map(|(field, value)| format!("{field} {}", plain(value))).collect()
        }
        _ => Vec::new(),
    };
    format!("{action} {name}: {}", settings.join(", "))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_says_what_was_and_what_is() {
        let change = |action: &str, before, after| Change {
            id: 1,
            at: chrono::DateTime::UNIX_EPOCH,
            operator: "olga".to_owned(),
            database_role: "postgres".to_owned(),
            kind: "server".to_owned(),
            object: "cam".to_owned(),
            action: action.to_owned(),
            before,
            after,
            why: None,
        };
        let set = change(
            "set",
            Some(json!({ "open": true, "rate_minor": 5 })),
            Some(json!({ "open": false, "rate_minor": 7 })),
        );
        assert_eq!(what(&set), "set server cam: open true -> false, rate_minor 5 -> 7");
        let removed = change("remove", Some(json!({ "capacity": 1, "reason": "" })), None);
        assert_eq!(what(&removed), "remove server cam: capacity 1, reason \"\"");
        let unset =
            change("set", Some(json!({ "holds_max": 3 })), Some(json!({ "holds_max": null })));
        assert_eq!(what(&unset), "set server cam: holds_max 3 -> -");
    }
}
