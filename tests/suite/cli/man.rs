//! Manual pages.

use serde_json::Value;

use crate::support::golden;
use crate::support::program::holdfast;

#[tokio::test]
async fn every_command_has_a_page_with_its_flags() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("text");
    let run = holdfast(&[], &["man", path]).await;
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let written = std::fs::read_dir(path)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut names: Vec<String> = written.collect();
    names.sort_unstable();
    golden::check("man_pages", &(names.join("\n") + "\n"));
    let page = std::fs::read_to_string(directory.path().join("holdfast-server-add.1"));
    let page = page.expect("the page").replace("\\-", "-");
    for said in ["--capacity", "--lead-seconds", "21600", "--database-url", "Example"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let page = std::fs::read_to_string(directory.path().join("holdfast-worker.1"));
    assert!(page.expect("the page").contains("HOLDFAST_BATCH_MAX"));
}

#[tokio::test]
async fn without_a_directory_the_first_page_is_printed() {
    let run = holdfast(&[], &["man"]).await;
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert!(run.stdout.contains(".TH holdfast 1"), "{run:?}");
    let run = holdfast(&[], &["man", "--json"]).await;
    let told: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert!(told["page"].as_str().is_some_and(|page| page.contains("completions")), "{told}");
    let run = holdfast(&[], &["man", "/nowhere/at/all"]).await;
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:?}");
    assert!(run.stderr.contains("/nowhere/at/all"), "{run:?}");
}
