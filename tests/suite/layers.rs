//! Imports point right only: `cli -> worker, client -> engine -> broker, store -> message -> domain`, and
//! `cli -> gate -> store`.

mod circles;

use std::fs;
use std::path::{Path, PathBuf};

use holdfast::domain::refusal::Code;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Each layer, the layers that it may use, and names that must not occur in it. Waits on the broker are
/// bounded in its layer, so those above do not use lapin's own connections. Random
/// waits are drawn in `backoff` alone.
const LAYERS: [(&str, &[&str], &[&str]); 10] = [
    ("parts", &[], &["lapin", "tokio", "tracing", "std::env", "std::fs"]),
    ("domain", &[], &["lapin", "tokio", "serde", "std::env", "Utc::now", "SystemTime"]),
    ("message", &["domain"], &["lapin", "tokio", "std::env", "Utc::now", "SystemTime"]),
    (
        "store",
        &["addresses", "backoff", "live", "parts", "tls", "message", "domain"],
        &["lapin", "std::env", "Utc::now", "SystemTime", "random_range"],
    ),
    (
        "broker",
        &["addresses", "live", "parts", "tls", "message", "domain"],
        &["tokio_postgres", "std::env", "Utc::now", "SystemTime"],
    ),
    (
        "engine",
        &["backoff", "broker", "store", "message", "domain"],
        &["lapin", "std::env", "Utc::now"],
    ),
    (
        "client",
        &["broker", "message", "domain"],
        &["tokio_postgres", "std::env", "lapin::Connection", "lapin::Channel", "acker"],
    ),
    (
        "worker",
        &["backoff", "endpoint", "engine", "broker", "store", "message", "domain"],
        &["clap", "random_range", "lapin::Connection", "lapin::Channel", "acker"],
    ),
    (
        "gate",
        &["backoff", "endpoint", "tls", "store", "domain"],
        &["lapin", "tokio_postgres", "clap", "std::env", "Utc::now", "SystemTime", "random_range"],
    ),
    (
        "cli",
        &[
            "gate", "worker", "client", "engine", "broker", "store", "live", "tls", "message",
            "domain",
        ],
        &["std::env", "lapin::Connection", "lapin::Channel", "acker"],
    ),
];

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.unwrap().path());
    let (directories, mut found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found.extend(directories.iter().flat_map(|directory| files(directory)));
    found
}

/// A file without its comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a text");
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_point_right_only() {
    for (layer, below, foreign) in LAYERS {
        for path in files(&Path::new(SOURCE).join(layer)) {
            let (shown, code) = (path.display(), code(&path));
            for used in code.split("crate::").skip(1) {
                let name =
                    used.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap();
                let points = ["crash_point", "left_undone"];
                let allowed = name == layer || points.contains(&name) || below.contains(&name);
                assert!(allowed, "{shown} uses {name:?}, which {layer} must not");
            }
            assert!(!code.contains("super::super"), "{shown}: a path that hides its layer");
            for name in foreign {
                assert!(!code.contains(name), "{shown} names {name}, which {layer} must not");
            }
        }
    }
}

/// What streaming servers say and are told is text in, text out.
#[test]
fn adapters_are_pure() {
    for path in files(&Path::new(SOURCE).join("gate/adapters")) {
        let code = code(&path);
        for name in ["tokio", "reqwest", "async ", "std::fs", "crate::store"] {
            assert!(!code.contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn every_layer_is_listed() {
    let directories = fs::read_dir(SOURCE).expect("the source").map(|entry| entry.unwrap());
    for directory in directories.filter(|entry| entry.path().is_dir()) {
        let name = directory.file_name();
        assert!(LAYERS.iter().any(|(layer, ..)| name == *layer), "{name:?}");
    }
}

#[test]
fn codes_are_spelt_in_one_place() {
    // Dead letters have reasons of their own, one of which is also a code.
    let elsewhere = files(Path::new(SOURCE)).into_iter().filter(|path| {
        !path.ends_with("domain/refusal.rs") && !path.ends_with("message/envelope.rs")
    });
    for path in elsewhere {
        let code = code(&path);
        for word in Code::ALL {
            assert!(!code.contains(&format!("\"{word}\"")), "{}: {word}", path.display());
        }
    }
}
