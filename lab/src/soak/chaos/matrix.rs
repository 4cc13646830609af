//! A table of everything that can go wrong, with the fault or the test that brings it about.

use super::faults;

/// How a row's failure is brought about.
enum By {
    /// `./dev chaos --only NAME`, for each.
    Faults(&'static [&'static str]),
    /// `./dev test -- NAME`.
    Tests(&'static [&'static str]),
    /// In every run.
    Always(&'static str),
}

use By::{Always, Faults, Tests};

const ROWS: [(&str, By); 58] = [
    ("a worker dies at each step", Tests(&["crash::"])),
    ("workers die at random", Faults(&["kill", "kill-all", "kill-while-stopping"])),
    ("a worker freezes", Faults(&["freeze"])),
    ("the broker restarts", Faults(&["broker-restart"])),
    ("the broker is killed", Faults(&["broker-kill"])),
    ("the broker restarts and no worker runs", Faults(&["broker-alone"])),
    ("the broker freezes", Faults(&["broker-freeze"])),
    ("connections are reset", Faults(&["tcp-reset", "close-connections", "connection-refused"])),
    ("a black hole, both ways or one", Faults(&["blackhole", "half-open"])),
    ("latency, slices, a narrow line", Faults(&["latency", "slicing", "rate-limit"])),
    ("a cut in a frame, or in a commit", Faults(&["cut-at-byte", "cut-mid-commit"])),
    ("lost acknowledgements", Faults(&["lost-acks"])),
    ("lost publisher confirms", Faults(&["lost-confirms"])),
    ("a full queue refuses", Faults(&["billing-queue-full", "partition-full"])),
    ("an answer without a queue", Faults(&["reply-queue-deleted"])),
    ("a consumed queue is deleted", Faults(&["partition-deleted"])),
    ("disk alarm", Faults(&["disk-alarm"])),
    ("memory alarm", Faults(&["memory-alarm"])),
    ("acknowledgement timeout of the broker", Faults(&["ack-timeout"])),
    ("double and stale acknowledgements", Faults(&["lost-acks", "frozen-owner"])),
    ("the database restarts", Faults(&["database-restart", "database-crash"])),
    ("the database or a session is killed", Faults(&["database-kill", "session-kill"])),
    ("the database freezes", Faults(&["database-freeze"])),
    ("failover of the database", Faults(&["failover", "read-only"])),
    ("serialization failures and deadlocks", Faults(&["deadlocks"])),
    ("somebody holds locks", Faults(&["lock-hog"])),
    ("no session left, no room on the disk", Faults(&["connections-exhausted", "disk-full"])),
    ("wake-ups are lost", Faults(&["ladder-purged"])),
    ("wake-ups early, late, repeated", Faults(&["wake-ups"])),
    ("a worker's clock is wrong", Faults(&["wrong-clock"])),
    ("the database's clock jumps", Faults(&["clock-back"])),
    ("duplicates, and changes before requests", Faults(&["duplicates", "too-soon"])),
    ("an id for two commands", Faults(&["id-reused"])),
    (
        "a message that kills its worker",
        Tests(&["a_message_that_crashes_its_worker_is_parked_alone"]),
    ),
    ("one terminal floods", Faults(&["flood"])),
    ("a command of no server", Faults(&["unknown-server"])),
    ("a slow biller", Faults(&["slow-biller"])),
    ("an outage at full load", Faults(&["database-outage"])),
    ("a rolling deploy", Faults(&["rolling-restart", "stop"])),
    ("old and new versions side by side", Always("with --beside PROGRAM, in every other place")),
    ("several relays", Always("each worker has one, and there are two workers or more")),
    ("clock changes and time zones", Tests(&["model::", "guard::quota", "input::"])),
    ("an owner freezes over deadlines", Faults(&["frozen-owner"])),
    ("a server moves, and the operator dies", Faults(&["server-move"])),
    ("partitions are added", Faults(&["partition-added"])),
    ("owners come and go", Faults(&["churn", "half-dead-owner", "read-only"])),
    ("a second installation on the broker", Faults(&["second-installation"])),
    ("the database's clock is ahead once", Faults(&["clock-ahead"])),
    ("the collation changes", Faults(&["collation"])),
    ("a zone's rules change", Faults(&["zone-rules"])),
    ("a policy over our queues", Faults(&["broker-policy"])),
    ("a full subscriber of events", Faults(&["full-subscriber"])),
    ("the workers' account is rotated", Faults(&["account-rotated"])),
    ("a log that cannot be written", Faults(&["log-unwritable"])),
    ("an engine that says nothing", Faults(&["silent-start", "broker-freeze", "database-freeze"])),
    ("the first of several addresses is silent", Faults(&["first-address-silent"])),
    ("a secret in a file changes", Faults(&["password-changed"])),
    ("a pooler drops session settings", Faults(&["pooler"])),
];

/// Prints all faults, then the rows.
pub fn print() {
    println!("Faults, for `./dev chaos --only NAME` (several with commas):");
    for fault in faults::ALL {
        println!("  {:22} {:8} {}", fault.name, format!("{:?}", fault.lane), fault.about);
    }
    println!("\nWhat can go wrong, and how it is brought about:");
    for (number, (row, by)) in (1..).zip(&ROWS) {
        let how = match by {
            Faults(names) => names.join(", "),
            Tests(names) => {
                let tests = names.iter().map(|name| format!("./dev test -- {name}"));
                tests.collect::<Vec<_>>().join("; ")
            }
            Always(how) => format!("every run: {how}"),
        };
        println!("  {number:2} {row:42} {how}");
    }
}
