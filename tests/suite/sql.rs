//! Where SQL stands: the rule at the top of `src/store/mod.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

const STATEMENTS: [&str; 2] = ["store/sql", "store/admin/sql"];

/// Beginnings of statements that must stand in a file of their own. Transaction control, session settings,
/// `listen` and `notify` may stand in the program.
const INLINE: [&str; 13] = [
    "select ",
    "insert ",
    "update ",
    "delete ",
    "merge ",
    "with ",
    "create ",
    "alter ",
    "drop ",
    "grant ",
    "revoke ",
    "truncate ",
    "lock ",
];

/// The text of all Rust files in and below a directory, by path, without comments.
fn program(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(program(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a text");
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.push((path, code.collect::<Vec<_>>().join("\n")));
        }
    }
    found
}

/// The names of all statements, and how often the program names each.
fn named() -> BTreeMap<String, usize> {
    let store = program(&Path::new(SOURCE).join("store"));
    let store: String = store.into_iter().map(|(_, code)| code).collect();
    let lists: Vec<&str> = store
        .split("statements!(")
        .skip(1)
        .filter_map(|list| list.split_once(')'))
        .flat_map(|(list, _)| list.split(',').map(str::trim))
        .collect();
    statements()
        .iter()
        .map(|path| {
            let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
            let alone = store.matches(&format!("sql!(\"{name}\")")).count();
            let listed = lists.iter().filter(|listed| **listed == name).count();
            (name, alone + listed)
        })
        .collect()
}

fn statements() -> Vec<PathBuf> {
    let directories = STATEMENTS.map(|directory| Path::new(SOURCE).join(directory));
    let entries = directories.iter().flat_map(|path| fs::read_dir(path).expect("statements"));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn a_name_names_one_statement() {
    assert_eq!(named().len(), statements().len(), "a name in both directories");
    for path in statements() {
        let text = fs::read_to_string(&path).expect("a text");
        let sql: Vec<&str> =
            text.lines().map(|line| line.split("--").next().unwrap_or("")).collect();
        // The block of a `do` is one statement.
        let separators = sql.join("\n").trim_end().matches(';').count();
        assert!(separators == 0 || text.contains("$$"), "{}: several statements", path.display());
    }
}

#[test]
fn one_place_runs_a_statement() {
    let is_wrong = |(name, count): &(String, usize)| match name.starts_with("load_") {
        true => *count == 0,
        false => *count != 1,
    };
    let wrong: Vec<_> = named().into_iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "not named once: {wrong:?}");
}

#[test]
fn no_statement_stands_in_the_program() {
    for (path, code) in program(Path::new(SOURCE)) {
        for text in code.split('"').skip(1) {
            let text = text.trim_start().to_ascii_lowercase();
            let begins = INLINE.iter().find(|word| text.starts_with(**word));
            assert!(begins.is_none(), "{}: {:?}", path.display(), text.lines().next());
        }
    }
}
