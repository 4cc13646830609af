//! The README says what the code does.

mod set_up;

use clap::Parser;
use holdfast::cli::Cli;
use holdfast::cli::config::{About, settings};
use holdfast::domain::interval::Interval;
use holdfast::domain::outcome::Refusal;
use holdfast::domain::refusal::Code;
use holdfast::domain::reservation::State;
use holdfast::message::answer::{Answer, Notice};
use holdfast::message::command::{RequestBody, ReservationBody};
use holdfast::message::event::{CloudEvent, ConfirmedData};
use holdfast::message::query::{AvailabilityBody, ListBody};
use serde::de::DeserializeOwned;

use crate::support::golden;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

fn readme() -> String {
    std::fs::read_to_string(PATH).expect("the README")
}

/// What stands between two marks, the first time.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end}")).0
}

#[test]
fn codes_are_those_of_the_enum() {
    const START: &str = "<!-- codes -->\n";
    const END: &str = "<!-- /codes -->";
    let mut table = "| code | retry | meaning | what to do |\n|---|---|---|---|\n".to_owned();
    for code in Code::ALL {
        let (retry, meaning, advice) = (code.retry().as_str(), code.meaning(), code.advice());
        table.push_str(&format!("| `{code}` | `{retry}` | {meaning} | {advice} |\n"));
    }
    let text = readme();
    let written = between(&text, START, END);
    let expected = text.replace(&format!("{START}{written}{END}"), &format!("{START}{table}{END}"));
    golden::check_file(PATH.as_ref(), &expected);
}

#[test]
fn the_diagram_is_the_state_machine() {
    let text = readme();
    let drawn: Vec<(&str, &str)> = between(&text, "stateDiagram-v2", "```")
        .lines()
        .filter_map(|line| line.split_once(':')?.0.trim().split_once(" --> "))
        .filter(|(from, _)| *from != "[*]")
        .collect();
    for &from in State::ALL {
        for &to in State::ALL {
            let is_drawn = drawn.contains(&(from.as_str(), to.as_str()));
            assert_eq!(is_drawn, from.can_become(to), "{from} to {to}");
        }
    }
}

#[test]
fn examples_are_messages() {
    fn read<T: DeserializeOwned>(example: &str) -> T {
        serde_json::from_str(example).unwrap_or_else(|error| panic!("{error}: {example}"))
    }
    let text = readme();
    let examples: Vec<&str> =
        text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [request, reconfirm, list, free, accepted, told, refused, notice, event] = examples[..]
    else {
        panic!("{} examples", examples.len());
    };
    let request: RequestBody = read(request);
    let named: ReservationBody = read(reconfirm);
    let page: ListBody = read(list);
    assert_eq!((page.limit, page.after), (Some(20), Some(named.reservation)));
    let window: AvailabilityBody = read(free);
    let Answer::Availability { server, free, end_at, .. } = read(told) else { panic!("not told") };
    assert_eq!((server.id, end_at), (window.server, window.end_at));
    assert_eq!(free.iter().map(|span| span.places).collect::<Vec<_>>(), [4, 3, 4]);
    let Answer::Accepted { reservation, .. } = read(accepted) else { panic!("not accepted") };
    assert_eq!((reservation.id, &reservation.start_at), (named.reservation, &request.start_at));
    let refused: Answer = read(refused);
    let Answer::Refused { code, closure: Some(told), decided_at, .. } = &refused else {
        panic!("{refused:?}")
    };
    let known = Code::ALL.iter().find(|known| known.as_str() == code).expect("a code");
    let closure = Interval::new(told.start_at, told.end_at);
    let expected = Refusal { closure, ..Refusal::plain(*known) };
    assert_eq!(refused, Answer::refused(&expected, *decided_at));
    let Notice::Confirmed { reservation, charge, .. } = read(notice) else {
        panic!("not confirmed")
    };
    let event: CloudEvent<ConfirmedData> = read(event);
    assert_eq!((event.subject, event.id), (reservation.id, charge));
    assert_eq!(event.data.amount_minor, reservation.price.amount_minor);
}

#[test]
fn settings_are_all_there_with_their_defaults() {
    let text = readme();
    for About { variable, flag, default, .. } in settings() {
        let default = match default {
            Some(number) if number.parse::<u64>().is_ok() => number.to_owned(),
            Some(word) => format!("`{word}`"),
            None => String::new(),
        };
        let row = format!("| `{variable}` | `--{flag}` | {default}");
        assert!(text.contains(&row), "{row}");
    }
}

#[test]
fn commands_can_be_typed() {
    let runbook = include_str!("../../docs/operations.md");
    let text = (readme() + runbook).replace("\\\n", " ");
    let mut typed = 0;
    for line in text.lines().filter(|line| line.starts_with("    holdfast ")) {
        let parsed = Cli::try_parse_from(shlex::split(line).expect("words"));
        assert!(parsed.is_ok(), "{line}: {}", parsed.err().expect("an error"));
        typed += 1;
    }
    assert!(typed >= 10, "{typed}");
}
