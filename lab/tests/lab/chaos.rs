//! Short storms: workers die, stop and freeze, connections break in the middle of whatever they carry,
//! commands and wake-ups come several times, servers move. `./dev chaos` is the long one, which breaks
//! the engines too; here they are everybody's.

use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Each is brought about at least once, or the run fails.
const FAULTS: &str = "tcp-reset,cut-at-byte,cut-mid-commit,lost-acks,lost-confirms,kill,stop,freeze,\
                      duplicates,too-soon,id-reused,wake-ups,malformed,poison,unknown-server,\
                      server-move";

const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_short_storm_breaks_no_promise() {
    let logs = tempfile::tempdir().expect("a directory");
    let run = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(["--chaos", "--brief", "--minutes", "0.7", "--terminals", "6", "--workers", "2"])
        .args(["--seed", "1", "--only", FAULTS, "--logs"])
        .arg(logs.path())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, run).await.expect("it ends").expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{complaints}");
    assert!(told.contains("Everything holds"), "{told}");
}
