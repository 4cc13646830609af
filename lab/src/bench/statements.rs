//! The database's statements, from `pg_stat_statements`.

use anyhow::Result;
use tokio_postgres::Client;

use crate::site::Site;

/// A statement with its counters since the last reset.
pub struct Statement {
    pub text: String,
    pub calls: i64,
    pub total_ms: f64,
    pub rows: i64,
    /// Buffers found, buffers read, bytes of write-ahead log; each per call.
    pub hit: f64,
    pub read: f64,
    pub wal: f64,
}

/// Switches on counting, for connections that are opened afterwards.
pub async fn switch_on(client: &Client, database: &str) -> Result<()> {
    let statement = format!("alter database {database} set pg_stat_statements.track = 'all'");
    Ok(client.batch_execute(&statement).await?)
}

pub async fn reset(site: &Site, database: &str) -> Result<()> {
    let reset = "select pg_stat_statements_reset(0, oid, 0) from pg_database where datname = $1";
    site.admin().await?.execute(reset, &[&database]).await?;
    Ok(())
}

/// By total time, longest first.
pub async fn since_reset(site: &Site, database: &str) -> Result<Vec<Statement>> {
    let query = "select query, calls, total_exec_time, rows, shared_blks_hit::float8 / calls,
            shared_blks_read::float8 / calls, wal_bytes::float8 / calls
        from pg_stat_statements s join pg_database d on d.oid = s.dbid
        where d.datname = $1 and calls > 0 order by total_exec_time desc";
    let rows = site.admin().await?.query(query, &[&database]).await?;
    Ok(rows
        .iter()
        .map(|row| Statement {
            text: shortened(row.get(0)),
            calls: row.get(1),
            total_ms: row.get(2),
            rows: row.get(3),
            hit: row.get(4),
            read: row.get(5),
            wal: row.get(6),
        })
        .collect())
}

/// On one line, without comments.
fn shortened(text: &str) -> String {
    let code = text.lines().map(|line| line.split("--").next().unwrap_or_default());
    let words: Vec<&str> = code.flat_map(str::split_whitespace).collect();
    words.join(" ").chars().take(110).collect()
}

/// A table of the first ones.
pub fn table(statements: &[Statement], most: usize) -> String {
    let mut text = format!(
        "{:>8} {:>9} {:>9} {:>9} {:>8} {:>7} {:>8}  statement\n",
        "calls", "total ms", "mean ms", "rows", "hit/c", "read/c", "wal B/c"
    );
    for s in statements.iter().take(most) {
        let mean = s.total_ms / s.calls as f64;
        text += &format!(
            "{:>8} {:>9.0} {mean:>9.3} {:>9} {:>8.0} {:>7.1} {:>8.0}  {}\n",
            s.calls, s.total_ms, s.rows, s.hit, s.read, s.wal, s.text
        );
    }
    text
}
