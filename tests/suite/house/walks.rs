//! The walks through the code in `docs/architecture.md`: short, and every stop is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{ROOT, read};

const STOPS_MAX: usize = 15;
const FILES_MAX: usize = 12;

/// Function and file of each numbered stop below a heading; a stop at the broker has none.
fn stops(text: &str, heading: &str) -> Vec<Option<(String, String)>> {
    let section = text.split(&format!("\n## {heading}\n")).nth(1).expect("the heading");
    let section = section.split("\n## ").next().expect("one part at least");
    let numbered = section.lines().filter_map(|line| line.split_once(". "));
    let numbered = numbered.filter(|(number, _)| number.parse::<usize>().is_ok());
    numbered
        .map(|(_, stop)| {
            let (function, rest) = stop.strip_prefix("[`")?.split_once("`](../")?;
            Some((function.to_owned(), rest.split(')').next()?.to_owned()))
        })
        .collect()
}

#[test]
fn the_walks_are_short_and_lead_through_functions_that_exist() {
    let text = read("docs/architecture.md");
    for heading in ["A request", "A deadline", "A query", "A move"] {
        let stops = stops(&text, heading);
        assert!((5..=STOPS_MAX).contains(&stops.len()), "{heading}: {} stops", stops.len());
        let stops: Vec<(String, String)> = stops.into_iter().flatten().collect();
        let files: BTreeSet<&String> = stops.iter().map(|(_, file)| file).collect();
        assert!(files.len() <= FILES_MAX, "{heading}: {} files", files.len());
        for (function, file) in &stops {
            let code = fs::read_to_string(Path::new(ROOT).join(file)).expect(file);
            assert!(
                code.contains(&format!("fn {function}("))
                    || code.contains(&format!("fn {function}<")),
                "{heading}: {file} has no {function}"
            );
        }
    }
}
