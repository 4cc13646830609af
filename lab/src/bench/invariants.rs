//! Checks every query of `schema/invariants.sql`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio_postgres::SimpleQueryMessage;

use crate::site::connect;

const INVARIANTS: &str = include_str!("../../../schema/invariants.sql");

/// Queries that take longer are reported by name.
const SLOW: Duration = Duration::from_secs(10);

/// The queries, without comments.
fn queries() -> Vec<String> {
    let code = |line: &'static str| line.split("--").next().unwrap_or_default();
    let text: Vec<&str> = INVARIANTS.lines().map(code).collect();
    let queries = text.join("\n");
    let queries = queries.split(';').map(|query| query.trim().to_owned());
    queries.filter(|query| !query.is_empty()).collect()
}

/// Fails if an invariant is violated; otherwise returns the number of queries.
pub async fn check(database_url: &str) -> Result<()> {
    let client = connect(database_url).await?;
    // On a large database these queries sort a lot.
    client.batch_execute("set work_mem = '512MB'; analyze").await?;
    let began = Instant::now();
    let queries = queries();
    for query in &queries {
        let at = Instant::now();
        let messages = client.simple_query(query).await.context("schema/invariants.sql")?;
        let broken: Vec<String> = messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some(format!("{}: {}", row.get(0).unwrap_or("?"), row.get(1).unwrap_or("?")))
                }
                _ => None,
            })
            .collect();
        if let Some(first) = broken.first() {
            bail!("an invariant is broken {} times, the first: {first}", broken.len());
        }
        if at.elapsed() > SLOW {
            let label = query.split('\'').find(|part| part.starts_with('I')).unwrap_or("a query");
            eprintln!("bench:   the invariant {label} took {:.0} s", at.elapsed().as_secs_f64());
        }
    }
    eprintln!(
        "bench:   {} invariants checked in {:.1} s: all hold",
        queries.len(),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_query_is_found() {
        let queries = super::queries();
        assert_eq!(queries.len(), super::INVARIANTS.matches(";\n").count());
        assert!(queries.iter().all(|q| q.starts_with("select") || q.starts_with("with")));
    }
}
