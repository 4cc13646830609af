//! Files of secrets of which access keys are derived.

use holdfast::domain::access::Secrets;
use tempfile::TempDir;

/// A file with these lines, one secret for each id.
pub struct SecretFile {
    directory: TempDir,
    lines: String,
}

impl SecretFile {
    pub fn new(ids: &[&str]) -> Self {
        let lines: Vec<String> =
            ids.iter().map(|id| format!("{id}:{}", id.repeat(40 / id.len() + 1))).collect();
        let directory = tempfile::tempdir().expect("a directory");
        let lines = lines.join("\n") + "\n";
        std::fs::write(directory.path().join("secret"), &lines).expect("written");
        Self { directory, lines }
    }

    pub fn path(&self) -> String {
        self.directory.path().join("secret").to_str().expect("a text").to_owned()
    }

    /// The first secret itself, to look for where it must not be.
    pub fn secrets_text(&self) -> String {
        let first = self.lines.lines().next().expect("a line");
        first.split_once(':').expect("a secret").1.to_owned()
    }

    pub fn secrets(&self) -> Secrets {
        Secrets::parse(&self.lines).expect("secrets")
    }
}
