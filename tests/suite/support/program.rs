//! The program itself, run like an operator would, and transcripts of such runs.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::golden;

/// What a run of `holdfast` did.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// `holdfast` with `arguments`, and nothing but `environment` around it.
pub fn command(environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = bare(env!("CARGO_BIN_EXE_holdfast"), environment);
    command.args(arguments);
    command
}

/// Any program, with nothing but `environment` around it.
pub fn bare(program: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(environment.iter().copied()).env("NO_COLOR", "1");
    // How the development script finds processes that a dying test leaves behind.
    if let Ok(state) = std::env::var("HOLDFAST_DEV_STATE") {
        command.env("HOLDFAST_DEV_STATE", state);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it to its end.
pub async fn holdfast(environment: &[(&str, &str)], arguments: &[&str]) -> Run {
    ended(command(environment, arguments).spawn().expect("the program runs")).await
}

/// Waits until a program has ended.
pub async fn ended(program: Child) -> Run {
    let done = program.wait_with_output().await.expect("the program runs");
    Run {
        code: done.status.code().expect("no signal ends it"),
        stdout: String::from_utf8(done.stdout).expect("text"),
        stderr: String::from_utf8(done.stderr).expect("text"),
    }
}

/// Gives a text to Prometheus's `promtool`, which must find nothing wrong with it.
pub async fn promtool(arguments: &[&str], text: &str) {
    let mut command = bare(&super::engines::variable("HOLDFAST_PROMTOOL"), &[]);
    let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().expect("promtool runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).await.expect("it reads");
    drop(input);
    let run = ended(child).await;
    assert!(run.code == 0 && run.stderr.is_empty(), "{run:?}");
}

/// Commands and what they printed.
pub struct Transcript {
    environment: Vec<(String, String)>,
    masks: Vec<(String, String)>,
    text: String,
}

impl Transcript {
    pub fn new(environment: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let environment = environment.iter().map(owned).collect();
        Self { environment, masks: Vec::new(), text: String::new() }
    }

    /// Shows `name` wherever `value` stands.
    pub fn mask(&mut self, value: &str, name: &str) {
        self.masks.push((value.to_owned(), name.to_owned()));
    }

    /// Runs `holdfast` with the words of `line`, writes down what it did, and expects `code`.
    pub async fn run(&mut self, line: &str, code: i32) -> Run {
        let words: Vec<&str> = line.split_whitespace().collect();
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let run = holdfast(&environment, &words).await;
        assert_eq!(run.code, code, "{line}: {run:?}");
        self.text.push_str(&format!("$ holdfast {line}\n{}", run.stdout));
        for line in run.stderr.lines() {
            self.text.push_str(&format!("! {line}\n"));
        }
        self.text.push_str(&format!("exit {}\n\n", run.code));
        run
    }

    /// Compares it all with a file, apart from what is different each time.
    pub fn check(self, name: &str) {
        let named = self.masks.iter().fold(self.text, |text, (from, to)| text.replace(from, to));
        golden::check(name, &masked(&named));
    }
}

/// `text` with ids numbered in order of appearance, without times and measured milliseconds.
fn masked(text: &str) -> String {
    let mut ids: Vec<&str> = Vec::new();
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(id) = rest.get(..36).filter(|id| Uuid::try_parse(id).is_ok()) {
            let known = ids.iter().position(|other| *other == id);
            let number = known.unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            });
            out.push_str(&format!("<id {}>", number + 1));
            rest = &rest[36..];
        } else if let Some(length) = time_length(rest) {
            out.push_str("<time>");
            rest = &rest[length..];
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    without_milliseconds(&out)
}

/// The length of the RFC 3339 time in UTC with which `text` begins.
fn time_length(text: &str) -> Option<usize> {
    let length = text.get(..32).unwrap_or(text).find('Z')? + 1;
    let time = &text[..length];
    (length >= 20 && chrono::DateTime::parse_from_rfc3339(time).is_ok()).then_some(length)
}

/// Columns are as wide as what they show, so runs of blanks are shortened too.
fn without_milliseconds(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words: Vec<&str> = line.split(' ').collect();
        for index in 1..words.len() {
            let number = words[index - 1].bytes().all(|b| b.is_ascii_digit());
            if words[index].trim_end_matches([',', ';']) == "ms" && number {
                words[index - 1] = "<n>";
            }
        }
        let mut shown = words.join(" ");
        while shown.contains("   ") {
            shown = shown.replace("   ", "  ");
        }
        lines.push(shown);
    }
    lines.join("\n").trim_end().to_owned() + "\n"
}
