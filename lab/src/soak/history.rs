//! A log of everything sent and received, to find out why a check fails.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use chrono::Utc;
use serde_json::{Value, json};

/// A file of JSON objects, one per line.
pub struct History(Mutex<BufWriter<File>>);

impl History {
    pub fn create(dir: &Path) -> Result<Self> {
        let path = dir.join("history.jsonl");
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(Mutex::new(BufWriter::new(file))))
    }

    /// Writes an entry with the current time.
    pub fn note(&self, what: &str, mut details: Value) {
        if let Some(details) = details.as_object_mut() {
            details.insert("at".to_owned(), json!(Utc::now()));
            details.insert("what".to_owned(), json!(what));
        }
        // Other writes will report a full disk.
        writeln!(self.0.lock().expect("no panics"), "{details}").ok();
    }

    pub fn flush(&self) {
        self.0.lock().expect("no panics").flush().ok();
    }
}

/// Bytes of a message as text.
pub fn text(bytes: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(bytes).into_owned())
}
