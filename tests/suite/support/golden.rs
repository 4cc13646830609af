//! Texts that are compared with files. `HOLDFAST_BLESS=1` writes the files anew.

use std::path::Path;

/// Compares `text` with `tests/suite/golden/<name>.txt`.
pub fn check(name: &str, text: &str) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/golden");
    check_file(&Path::new(directory).join(name).with_extension("txt"), text);
}

/// Compares `text` with a file.
pub fn check_file(path: &Path, text: &str) {
    if std::env::var_os("HOLDFAST_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(path, text).expect("the file can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    if written == text {
        return;
    }
    let differs = written.lines().zip(text.lines()).position(|(old, new)| old != new);
    let line = differs.unwrap_or_else(|| written.lines().count().min(text.lines().count()));
    panic!(
        "{} differs from line {} on. There: {:?}. Now: {:?}. HOLDFAST_BLESS=1 rewrites it.\n{text}",
        path.display(),
        line + 1,
        written.lines().nth(line).unwrap_or_default(),
        text.lines().nth(line).unwrap_or_default(),
    );
}
