//! `schema/invariants.sql`, run against a test's database.

use tokio_postgres::{Client, SimpleQueryMessage};

/// The queries, as they are in the file.
pub const QUERIES: &str = include_str!("../../../schema/invariants.sql");

/// Every violation, as text.
pub async fn violations(client: &Client) -> Vec<String> {
    let messages = client.simple_query(QUERIES).await.expect("the invariant queries run");
    messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some(format!("{}: {}", row.get(0).unwrap_or("?"), row.get(1).unwrap_or("?")))
            }
            _ => None,
        })
        .collect()
}
