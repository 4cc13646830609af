//! Runs the fuzz targets (`./dev fuzz`) on the checked-in corpus.

#[path = "../../fuzz/src/lib.rs"]
pub mod targets;

use std::collections::HashSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use holdfast::domain::refusal::Code;
use targets::{decode, frames, replies};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus");
const INPUTS_MIN: usize = 50;
const INPUTS_MAX: usize = 300;
const INPUT_LEN_MAX: usize = 4_096;

/// Name and bytes of every input of a target.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(Path::new(CORPUS).join(target)).expect("a corpus");
    let mut inputs: Vec<(String, Vec<u8>)> = files
        .map(|file| {
            let path = file.expect("a file").path();
            (path.display().to_string(), fs::read(&path).expect("an input"))
        })
        .collect();
    inputs.sort();
    let count = inputs.len();
    assert!((INPUTS_MIN..=INPUTS_MAX).contains(&count), "{target}: {count} inputs");
    for (name, input) in &inputs {
        assert!(input.len() <= INPUT_LEN_MAX, "{name} is too long");
    }
    inputs
}

/// Fails with the name of the first input on which the target panics.
fn run_all(target: &str, run: fn(&[u8])) {
    for (name, input) in corpus(target) {
        assert!(catch_unwind(|| run(&input)).is_ok(), "the target panics on {name}");
    }
}

#[test]
fn the_decoder_handles_its_corpus() {
    run_all("decode", decode::run);
}

#[test]
fn sanitizing_handles_its_corpus() {
    run_all("frames", frames::run);
}

#[test]
fn readers_of_replies_handle_their_corpus() {
    run_all("replies", replies::run);
}

#[test]
fn the_corpus_reaches_every_outcome_of_the_decoder() {
    let inputs = corpus("decode");
    let reached: HashSet<&str> =
        inputs.iter().map(|(_, input)| decode::check(&decode::read(input))).collect();
    let of_decoding = Code::ALL.iter().take_while(|code| **code != Code::RateLimited);
    // No input is as long as a body that is too large.
    let codes = of_decoding.filter(|code| **code != Code::BodyTooLarge).map(|code| code.as_str());
    for outcome in
        codes.chain(["a step", "unauthenticated", "invalid_wake_up", "invalid_fence", "probe"])
    {
        assert!(reached.contains(outcome), "{outcome} is not reached");
    }
}
