//! The plan on disk, for a gate that starts while the database is away.
//!
//! It has hashes of keys, no keys, and only its owner reads it. The time since boot with which it was written
//! stands for the database's clock until that answers; after a reboot it says nothing, and the file is not used.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::clock::since_boot;
use crate::domain::admission::plan::{Entry, KeyHash, Plan};
use crate::domain::id::ServerId;
use crate::domain::interval::{Interval, Timestamp};

/// Readable and writable by the owner alone.
const MODE: u32 = 0o600;

/// What tells one run of the machine from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Serialize, Deserialize)]
struct File {
    server: String,
    boot_id: String,
    since_boot_ms: u64,
    database_time: Timestamp,
    as_of: Timestamp,
    reservations: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    id: Uuid,
    start_at: Timestamp,
    end_at: Timestamp,
    cancelled: bool,
    key_sha256: [u8; 32],
    capacity: usize,
    viewers_max: Option<usize>,
    early_seconds: i64,
    gap_seconds: i64,
}

/// What was in the file.
pub struct Kept {
    /// The plan.
    pub plan: Plan,
    /// The database's time at some time since boot.
    pub clock: (Duration, Timestamp),
}

/// Writes the plan, known to be right at `now` by the database's clock.
pub fn write(path: &Path, server: &ServerId, now: Timestamp, plan: &Plan) -> io::Result<()> {
    let file = File {
        server: server.to_string(),
        boot_id: fs::read_to_string(BOOT_ID)?,
        since_boot_ms: u64::try_from(since_boot().as_millis()).unwrap_or_default(),
        database_time: now,
        as_of: plan.as_of(),
        reservations: plan.entries().map(row).collect(),
    };
    // A reader never sees half of it.
    let half = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut out = options.write(true).create(true).truncate(true).mode(MODE).open(&half)?;
    out.write_all(&serde_json::to_vec(&file)?)?;
    out.sync_all()?;
    fs::rename(&half, path)
}

/// Reads it. `None` if there is none, or if it is another server's or of before a reboot.
pub fn read(path: &Path, server: &ServerId) -> io::Result<Option<Kept>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let file: File = serde_json::from_slice(&text)?;
    if file.server != server.as_str() || file.boot_id != fs::read_to_string(BOOT_ID)? {
        return Ok(None);
    }
    let entries = file.reservations.into_iter().filter_map(entry);
    let clock = (Duration::from_millis(file.since_boot_ms), file.database_time);
    Ok(Some(Kept { plan: Plan::new(file.as_of, entries), clock }))
}

fn row(entry: &Entry) -> Row {
    Row {
        id: entry.reservation,
        start_at: entry.window.start,
        end_at: entry.window.end,
        cancelled: entry.cancelled,
        key_sha256: entry.key.0,
        capacity: entry.capacity,
        viewers_max: entry.viewers_max,
        early_seconds: entry.early_seconds,
        gap_seconds: entry.gap_seconds,
    }
}

fn entry(row: Row) -> Option<Entry> {
    Some(Entry {
        reservation: row.id,
        window: Interval::new(row.start_at, row.end_at)?,
        cancelled: row.cancelled,
        key: KeyHash(row.key_sha256),
        capacity: row.capacity,
        viewers_max: row.viewers_max,
        early_seconds: row.early_seconds,
        gap_seconds: row.gap_seconds,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_plan_comes_back_for_its_server_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.json");
        let server = |id| ServerId::parse(id).unwrap();
        assert!(read(&path, &server("a")).unwrap().is_none(), "no file");
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let entry = Entry {
            reservation: Uuid::from_u128(7),
            window: Interval::new(at(100), at(200)).unwrap(),
            cancelled: false,
            key: KeyHash::of("key"),
            capacity: 2,
            viewers_max: None,
            early_seconds: 5,
            gap_seconds: 10,
        };
        let plan = Plan::new(at(90), [entry]);
        write(&path, &server("a"), at(95), &plan).unwrap();
        write(&path, &server("a"), at(95), &plan).unwrap();
        let kept = read(&path, &server("a")).unwrap().unwrap();
        assert_eq!((kept.plan, kept.clock.1), (plan, at(95)));
        assert!(read(&path, &server("b")).unwrap().is_none(), "another server's");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
    }
}
