//! The seeded bugs of `./dev sabotage` fit the sources as they are, and name checks that exist.

use std::fs;
use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// File name and text of every patch.
fn patches() -> Vec<(String, String)> {
    let files = fs::read_dir(Path::new(ROOT).join("lab/sabotage")).expect("patches");
    let mut patches: Vec<(String, String)> = files
        .map(|file| {
            let path = file.expect("a file").path();
            let text = fs::read_to_string(&path).expect("a text");
            (path.display().to_string(), text)
        })
        .collect();
    patches.sort();
    assert!(!patches.is_empty());
    patches
}

/// The values of a patch's lines `key: value`.
fn header<'a>(patch: &'a str, key: &str) -> Vec<&'a str> {
    let lines = patch.lines().take_while(|line| !line.starts_with("diff "));
    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).collect()
}

#[test]
fn the_patches_apply() {
    for (name, _) in patches() {
        let git = Command::new("git").args(["apply", "--check", &name]).current_dir(ROOT).output();
        let output = git.expect("git");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_patches_name_checks_that_exist() {
    let files = fs::read_dir(Path::new(ROOT).join("lab/src/soak/checks")).expect("the checks");
    let checks: String = files
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("a text"))
        .collect();
    for (name, patch) in patches() {
        if !header(&patch, "red test").is_empty() {
            continue;
        }
        assert_eq!(header(&patch, "run").len(), 1, "{name}");
        let caught = header(&patch, "caught by");
        assert!(!caught.is_empty(), "{name}");
        for check in caught {
            let check = check.split(" | ").next().expect("one part at least");
            assert!(
                checks.contains(&format!("\"{check}\"")),
                "{name}: there is no check {check:?}"
            );
        }
    }
}

#[test]
fn the_patches_name_tests_that_exist() {
    let mut named = 0;
    for (name, patch) in patches() {
        for test in header(&patch, "red test") {
            let (module, function) = test.rsplit_once("::").expect("a path");
            let path = format!("tests/suite/{}.rs", module.replace("::", "/"));
            let text = fs::read_to_string(Path::new(ROOT).join(&path)).expect("the module");
            assert!(text.contains(&format!("fn {function}()")), "{name}: there is no {test}");
            named += 1;
        }
    }
    assert!(named >= 3, "{named}");
}
