//! The database's conditions: what durability and decisions rest on.

use anyhow::Result;
use tokio_postgres::Client;

use super::engines::Engines;
use super::finding::{Check, Finding, bounded, bytes, named};
use crate::cli::context::Context;
use crate::store::admin::conditions::{
    Conditions, OwnSetting, list_missing_rights, list_own_settings, load_conditions,
};

const VERSION: Check = Check::new("database.version", "the database server's version");
const WRITABLE: Check = Check::new("database.writable", "whether the server takes writes");
const TLS: Check = Check::new("database.tls", "whether this connection is encrypted");
const SESSION: Check = Check::new(
    "database.session",
    "a session with Holdfast's settings: whether they arrive, and whether one server process answers",
);
const FSYNC: Check = Check::new("database.fsync", "the settings fsync and full_page_writes");
const COMMIT: Check = Check::new(
    "database.synchronous_commit",
    "the setting synchronous_commit, of the server, this database and Holdfast's accounts",
);
const ISOLATION: Check = Check::new(
    "database.isolation",
    "the setting default_transaction_isolation, of the server, this database and Holdfast's accounts",
);
const AUTOVACUUM: Check = Check::new("database.autovacuum", "the setting autovacuum");
const CONNECTIONS: Check = Check::new("database.connections", "connections and max_connections");
const TRANSACTIONS: Check = Check::new(
    "database.transactions",
    "open and prepared transactions of this database; they hold locks, and dead rows stay",
);
const DISK: Check = Check::new(
    "database.disk",
    "the database's size, and log that is kept for replication slots which nothing reads",
);
const RIGHTS: Check =
    Check::new("database.rights", "the rights of accounts that `account add database-worker` made");

const ALL: [Check; 12] = [
    VERSION,
    WRITABLE,
    TLS,
    SESSION,
    FSYNC,
    COMMIT,
    ISOLATION,
    AUTOVACUUM,
    CONNECTIONS,
    TRANSACTIONS,
    DISK,
    RIGHTS,
];

/// The oldest version with what the schema uses.
const OLDEST_VERSION: i32 = 150_000;

/// Of all connections, before workers that start find none.
const CONNECTIONS_PERCENT: i64 = 80;

/// A report or a dump. Workers' and operators' transactions end much sooner.
const TRANSACTION_SECONDS: f64 = 3_600.0;

/// Holdfast prepares none.
const PREPARED_SECONDS: f64 = 60.0;

/// Log of some minutes under load.
const SLOTS_BYTES: i64 = 1 << 30;

pub(super) async fn check(context: &Context, engines: &Engines<'_>) -> Vec<Finding> {
    let (Some(database), Some(seen)) = (&engines.database, &engines.conditions) else {
        return ALL.map(|check| check.needs("the database")).to_vec();
    };
    let mut findings = vec![
        version(seen),
        writable(seen),
        tls(seen),
        bounded(SESSION, session(context, database, seen)).await,
        fsync(seen),
    ];
    match list_own_settings(database).await {
        Ok(own) => findings.extend([commit(seen, &own), isolation(seen, &own)]),
        Err(error) => {
            let error = error.into();
            findings.extend([COMMIT, ISOLATION].map(|check| check.failed(&error)));
        }
    }
    findings.extend([autovacuum(seen), connections(seen), transactions(seen), disk(seen)]);
    findings.push(bounded(RIGHTS, rights(engines, database)).await);
    findings
}

fn version(seen: &Conditions) -> Finding {
    match seen.version_number {
        OLDEST_VERSION.. => VERSION.green(&seen.version),
        _ => VERSION.red(&seen.version, "upgrade PostgreSQL to 15 or newer"),
    }
}

fn writable(seen: &Conditions) -> Finding {
    match seen.read_only {
        false => WRITABLE.green("it does"),
        true => WRITABLE.red(
            "the server is read-only: a standby, or default_transaction_read_only is on",
            "name the primary in DATABASE_URL, or turn that setting off",
        ),
    }
}

fn tls(seen: &Conditions) -> Finding {
    match (seen.encrypted, seen.is_local) {
        (true, _) => TLS.green("encrypted"),
        (false, true) => TLS.green("not encrypted, and on this machine"),
        (false, false) => TLS.yellow(
            "not encrypted: passwords are hashed, what is reserved and billed is readable on the network",
            "add sslmode=verify-full to DATABASE_URL, here and of the workers",
        ),
    }
}

/// Another process behind the same connection is a pooler's doing.
async fn session(context: &Context, database: &Client, seen: &Conditions) -> Result<Finding> {
    const REMEDY: &str = "connect to PostgreSQL directly, or let the pooler pool sessions and pass on the \
                          startup parameter options";
    let again = load_conditions(database).await?;
    if again.backend != seen.backend {
        return Ok(SESSION.red("a pooler in between changes the server process", REMEDY));
    }
    match context.database().await {
        Ok(_) => Ok(SESSION.green("they arrive, and one server process answers")),
        Err(error) => Ok(SESSION.red(format!("{error:#}"), REMEDY)),
    }
}

fn fsync(seen: &Conditions) -> Finding {
    let off: Vec<&str> = [("fsync", seen.fsync), ("full_page_writes", seen.full_page_writes)]
        .iter()
        .filter(|(_, on)| !on)
        .map(|(name, _)| *name)
        .collect();
    match off.is_empty() {
        true => FSYNC.green("both are on"),
        false => FSYNC.red(
            format!("off: {}; a crash of the machine loses or corrupts what was confirmed", off.join(", ")),
            "turn them on (`alter system reset fsync`, `alter system reset full_page_writes`, `select \
             pg_reload_conf()`, or postgresql.conf)",
        ),
    }
}

/// The session's own value, and those of others, as texts.
fn values(value: &str, name: &str, own: &[OwnSetting], bad: impl Fn(&str) -> bool) -> Vec<String> {
    let mine = bad(value).then(|| format!("{value} in this session"));
    let others = own.iter().filter(|setting| setting.name == name && bad(&setting.value));
    let others = others.map(|setting| format!("{} for {}", setting.value, setting.account));
    mine.into_iter().chain(others).collect()
}

fn commit(seen: &Conditions, own: &[OwnSetting]) -> Finding {
    let value = &seen.synchronous_commit;
    let off = values(value, "synchronous_commit", own, |value| value == "off");
    match off.is_empty() {
        true => COMMIT.green(value),
        false => COMMIT.red(
            format!("{}: what was answered can be lost in a crash", named(&off)),
            "take that setting back: `alter database ... reset synchronous_commit`, `alter role ... reset \
             synchronous_commit`, or postgresql.conf. Then restart the workers",
        ),
    }
}

fn isolation(seen: &Conditions, own: &[OwnSetting]) -> Finding {
    let wanted = "read committed";
    let other =
        values(&seen.isolation, "default_transaction_isolation", own, |value| value != wanted);
    match other.is_empty() {
        true => ISOLATION.green(wanted),
        false => ISOLATION.yellow(
            format!("{}; Holdfast's own sessions set it, statements typed by hand are refused", named(&other)),
            "take that setting back: `alter database ... reset default_transaction_isolation`, or of the role",
        ),
    }
}

fn autovacuum(seen: &Conditions) -> Finding {
    match seen.autovacuum {
        true => AUTOVACUUM.green("on"),
        false => AUTOVACUUM.red(
            "off: the outbox and timers grow until nothing is decided in time",
            "turn it on (`alter system reset autovacuum`, `select pg_reload_conf()`)",
        ),
    }
}

fn connections(seen: &Conditions) -> Finding {
    let text = format!("{} of {}", seen.connections, seen.connections_max);
    match seen.connections * 100 < i64::from(seen.connections_max) * CONNECTIONS_PERCENT {
        true => CONNECTIONS.green(text),
        false => CONNECTIONS
            .yellow(text, "raise max_connections; a worker needs one per partition and some more"),
    }
}

fn transactions(seen: &Conditions) -> Finding {
    let remedy = "look for it in pg_stat_activity (`pg_terminate_backend`) or pg_prepared_xacts (`rollback \
                  prepared`)";
    if seen.prepared_seconds > PREPARED_SECONDS {
        let text = format!("a prepared transaction is {:.0} s old", seen.prepared_seconds);
        return TRANSACTIONS.red(text, remedy);
    }
    let text = format!("the oldest open one is {:.0} s old", seen.transaction_seconds);
    match seen.transaction_seconds < TRANSACTION_SECONDS {
        true => TRANSACTIONS.green(text),
        false => TRANSACTIONS.yellow(text, remedy),
    }
}

fn disk(seen: &Conditions) -> Finding {
    let size = bytes(seen.size_bytes.unsigned_abs());
    let kept = bytes(seen.slots_bytes.unsigned_abs());
    match seen.slots_bytes < SLOTS_BYTES {
        true => DISK.green(format!("{size}; PostgreSQL does not tell how much disk is free")),
        false => DISK.red(
            format!(
                "{size}; {} idle replication slots keep {kept} of log, without a bound",
                seen.idle_slots
            ),
            "bring back the standby, or drop its slot: `select pg_drop_replication_slot(...)`",
        ),
    }
}

async fn rights(engines: &Engines<'_>, database: &Client) -> Result<Finding> {
    if engines.versions.is_none() {
        return Ok(RIGHTS.needs("the schema"));
    }
    let missing = list_missing_rights(database).await?;
    Ok(RIGHTS.unless_any(
        &missing,
        "run `holdfast migrate` with the account that owns the tables: it grants these accounts their rights",
        "all that each worker needs",
    ))
}
