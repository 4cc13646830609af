//! The list of bad inputs in the documentation names tests that exist.

use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The source of all tests.
fn tests(directory: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.push_str(&tests(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).expect("a text"));
        }
    }
    all
}

#[test]
fn every_category_has_a_test_that_exists() {
    let list = fs::read_to_string(Path::new(ROOT).join("docs/bad-input.md")).expect("the list");
    let tests = tests(&Path::new(ROOT).join("tests/suite"));
    let mut numbers = Vec::new();
    for row in list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| # ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, input, _, named] = cells[..] else { panic!("four cells: {row}") };
        numbers.extend(number.parse::<u32>());
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty() || number == "43", "no test for {input}");
        for name in names.into_iter().filter(|name| !name.starts_with("./dev")) {
            assert!(tests.contains(&format!("fn {name}(")), "{number}: there is no {name}");
        }
    }
    let expected = (1..=56).filter(|number| ![22, 49].contains(number));
    assert_eq!(numbers, expected.collect::<Vec<_>>());
}
