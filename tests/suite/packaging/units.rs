//! systemd's unit, and the files beside it.

use std::fs;
use std::path::Path;

use super::{default_of, path, read, run};

/// Tenths of systemd's rating, of which 100 is the worst: it asks for a network of its own and a list of
/// addresses, which the engines' decide.
const EXPOSURE_MAX: &str = "15";

/// The unit with a program that is there, and the drop-in if wanted, as below `/etc/systemd/system`.
fn installed(folder: &Path, drop_in: bool) -> String {
    let program = env!("CARGO_BIN_EXE_holdfast");
    let here = |name: &str| read(name).replace("/usr/bin/holdfast", program);
    let unit = folder.join("holdfast-worker@.service");
    fs::write(&unit, here("deploy/systemd/holdfast-worker@.service")).expect("written");
    if drop_in {
        let beside = folder.join("holdfast-worker@.service.d");
        fs::create_dir(&beside).expect("a folder");
        fs::write(beside.join("credentials.conf"), here("deploy/systemd/credentials.conf"))
            .expect("written");
    }
    unit.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn systemd_takes_the_unit() {
    for drop_in in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let unit = installed(folder.path(), drop_in);
        let run = run("systemd-analyze", &["verify", "--man=no", &unit]).await;
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    }
}

#[tokio::test]
async fn a_worker_can_do_little_to_its_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = installed(folder.path(), false);
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let run = run("systemd-analyze", &["security", "--offline=true", &threshold, &unit]).await;
    assert_eq!(run.code, 0, "{run:?}");
}

/// What a unit sets.
fn seconds(unit: &str, name: &str) -> u64 {
    let value = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.trim_end_matches('s').parse().ok()).expect(name)
}

#[test]
fn a_unit_gets_twice_the_drain_grace() {
    let unit = read("deploy/systemd/holdfast-worker@.service");
    assert_eq!(seconds(&unit, "TimeoutStopSec"), 2 * default_of("drain-grace-seconds"));
}

#[tokio::test]
async fn the_account_and_its_folder_are_made() {
    let root = tempfile::tempdir().expect("a folder");
    fs::create_dir(root.path().join("etc")).expect("a folder");
    let at = format!("--root={}", root.path().display());
    let file = |name: &str| path(&format!("deploy/systemd/{name}.conf")).display().to_string();
    let made = run("systemd-sysusers", &[&at, &file("sysusers")]).await;
    assert_eq!(made.code, 0, "{made:?}");
    let accounts = fs::read_to_string(root.path().join("etc/passwd")).expect("accounts");
    assert!(accounts.contains("holdfast:"), "{accounts}");
    let made = run("systemd-tmpfiles", &[&at, "--create", &file("tmpfiles")]).await;
    assert_eq!(made.code, 0, "{made:?}");
    assert!(root.path().join("etc/holdfast").is_dir());
}
