//! The house rules that a test can check: what is cited is defined, what is linked is there, and the
//! words of the source are those of its field.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{TokenStream, TokenTree};

mod walks;
mod words;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The headings of every decision record, in order.
const RECORD: [&str; 3] = ["## Context", "## Decision", "## Consequences"];

/// Files below `directory`, or `directory` itself if it is a file, as paths from the root.
fn files(directory: &str) -> Vec<String> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        if path.is_file() {
            found.push(path.to_owned());
        } else {
            let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            // Local virtual environments, caches and packages are nobody's source.
            entries
                .retain(|path| !path.ends_with("node_modules") && !path.ends_with("__pycache__"));
            entries.iter().for_each(|path| walk(path, found));
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(ROOT).join(directory), &mut found);
    let from_root = |path: PathBuf| path.strip_prefix(ROOT).unwrap().display().to_string();
    found.into_iter().map(from_root).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The first words of the second-level headings of a document.
fn headings(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("## ")?.split(' ').next()).collect()
}

/// Rules and promises that a text cites, such as `R9` and `P5`.
fn cited(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| {
        let number = word.strip_prefix(['R', 'P']).unwrap_or_default();
        (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[test]
fn rules_are_listed_in_order() {
    let rules = (1..=17).map(|n| format!("R{n}"));
    let promises = (1..=8).map(|n| format!("P{n}"));
    assert_eq!(headings(&read("docs/rules.md")), rules.chain(promises).collect::<Vec<_>>());
}

#[test]
fn a_rule_that_is_cited_is_defined() {
    let text = read("docs/rules.md");
    let defined: BTreeSet<&str> = headings(&text).into_iter().collect();
    let citing = ["src", "lab/src", "schema", "tests/suite", "docs", "clippy.toml", "README.md"];
    for path in citing.into_iter().flat_map(files).filter(|path| is_text(path)) {
        for rule in cited(&read(&path)) {
            assert!(defined.contains(rule), "{path} cites {rule}; docs/rules.md does not have it");
        }
    }
}

fn is_text(path: &str) -> bool {
    [".rs", ".sql", ".md", ".toml"].iter().any(|extension| path.ends_with(extension))
}

#[test]
fn decisions_are_recorded_alike_and_listed() {
    let index = read("docs/decisions/README.md");
    let records = files("docs/decisions").into_iter().filter(|path| !path.ends_with("/README.md"));
    for (number, path) in (1..).zip(records) {
        let name = path.strip_prefix("docs/decisions/").unwrap();
        assert!(name.starts_with(&format!("{number:04}-")), "{path} is not number {number}");
        let text = read(&path);
        let title =
            text.lines().next().and_then(|line| line.strip_prefix(&format!("# {number}. ")));
        let title = title.unwrap_or_else(|| panic!("{path}: the title is not `# {number}. ...`"));
        let row = format!("| [{number:04}]({name}) | {title} |");
        assert!(index.contains(&row), "docs/decisions/README.md lacks {row}");
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(headings, RECORD, "{path}");
    }
}

/// The test groups that a document names, such as `rules::late::`.
fn groups(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split('`').skip(1).step_by(2);
    code.filter_map(|code| code.rsplit(' ').next()?.strip_suffix("::"))
}

#[test]
fn test_groups_that_documents_name_exist() {
    for document in ["docs/rules.md", "docs/guarantees.md", "CONTRIBUTING.md"] {
        let text = read(document);
        for group in groups(&text) {
            let path = format!("tests/suite/{}", group.replace("::", "/"));
            let exists = [".rs", "/mod.rs"].map(|end| Path::new(ROOT).join(path.clone() + end));
            assert!(exists.iter().any(|path| path.exists()), "{document}: there is no {group}::");
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents = files("docs").into_iter().filter(|path| path.ends_with(".md"));
    let at_root = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
    for document in documents.chain(at_root.map(str::to_owned)) {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") {
                continue;
            }
            let beside = Path::new(ROOT).join(&document).with_file_name("");
            let path = match target {
                "" => Path::new(ROOT).join(&document),
                _ => beside.join(target),
            };
            assert!(path.exists(), "{document}: there is no {target}");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&path).expect("a document");
                let found =
                    text.lines().any(|line| line.starts_with('#') && self::anchor(line) == anchor);
                assert!(found, "{document}: {link} names no heading");
            }
        }
    }
}

/// A heading's anchor as forges make it.
pub fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Every identifier of a source file; comments and strings have none.
fn identifiers(path: &str) -> BTreeSet<String> {
    fn walk(tokens: TokenStream, found: &mut BTreeSet<String>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => walk(group.stream(), found),
                TokenTree::Ident(ident) => drop(found.insert(ident.to_string())),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    match path.rsplit('.').next() {
        Some("rs") => {
            let tokens = TokenStream::from_str(&read(path));
            walk(tokens.unwrap_or_else(|error| panic!("{path}: {error}")), &mut found);
        }
        Some("sql") => {
            for line in read(path).lines() {
                let code = line.split("--").next().unwrap_or_default();
                let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                found.extend(words.map(str::to_owned));
            }
        }
        _ => {}
    }
    found
}

#[test]
fn identifiers_are_words_of_the_field() {
    let mut wrong = Vec::new();
    for path in words::ROOMS.iter().flat_map(|room| files(room)) {
        let stem = Path::new(&path).file_stem().expect("a file's name").to_string_lossy();
        let directory = path.rsplit('/').nth(1).unwrap_or_default();
        for name in [&*stem, directory] {
            if let Some(better) = words::better_file(&path, name) {
                wrong.push(format!("{path}: the name {name} (better: {better})"));
            }
        }
        for identifier in identifiers(&path) {
            if let Some(better) = words::better(&path, &identifier) {
                wrong.push(format!("{path}: {identifier} (better: {better})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} in all:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn names_outside_the_source_are_words_of_the_field() {
    const PLACES: [&str; 12] = [
        "src",
        "lab",
        "schema",
        "deploy",
        "examples",
        "docs",
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "dev",
        ".dev",
        "docker-compose.yml",
    ];
    let mut wrong = Vec::new();
    for path in PLACES.into_iter().flat_map(files) {
        // What is not a text has no words.
        let Ok(text) = fs::read_to_string(Path::new(ROOT).join(&path)) else { continue };
        let tells_of_the_past = path.starts_with("docs/decisions/");
        let gone = words::GONE.iter().filter(|_| !tells_of_the_past);
        for (old, new) in words::NAMES.iter().chain(gone) {
            if text.contains(*old) {
                wrong.push(format!("{path}: {old} (better: {new})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} in all:\n{}", wrong.len(), wrong.join("\n"));
}
