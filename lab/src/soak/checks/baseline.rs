//! Checks of what is left after all workers have ended.

use super::{Check, Seen};

/// Limits that reveal a leak: an idle worker needs less.
const KILOBYTES_MAX: usize = 400_000;
const FILES_MAX: usize = 200;

/// There are no sessions, transactions or consumers.
pub fn sessions(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("no session, transaction or consumer is left behind");
    check.checked = 1 + seen.left.looked_at;
    let sessions = seen.facts.sessions.iter();
    check.wrong.extend(sessions.map(|session| format!("session {session}")));
    let read = seen.left.consumers.iter();
    check.wrong.extend(
        read.filter(|(queue, _)| queue != holdfast::broker::topology::BILLING_QUEUE)
            .map(|(queue, readers)| format!("{queue} has {readers} consumers")),
    );
    check
}

pub fn sizes(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("workers have not grown");
    for (name, kilobytes, files) in seen.sizes {
        check.that(*kilobytes < KILOBYTES_MAX && *files < FILES_MAX, || {
            format!("{name}: {kilobytes} kB, {files} open files")
        });
    }
    check
}

/// Logs contain no panic and no password.
pub fn logs(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("no worker panicked or told a password");
    let password = seen.password.to_owned();
    let files = std::fs::read_dir(seen.logs).into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with("worker-")) {
        let log =
            String::from_utf8_lossy(&std::fs::read(file.path()).unwrap_or_default()).into_owned();
        let bad = |line: &&str| line.contains("panicked at") || line.contains(&password);
        let found = log.lines().find(bad);
        let name = file.file_name().to_string_lossy().into_owned();
        check.that(found.is_none(), || format!("{name}: {}", found.unwrap_or_default()));
    }
    check
}
