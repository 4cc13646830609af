//! Five places define the states of a reservation and agree: the enum, its diagram, the tables' CHECKs and
//! indexes, the guard (see `guard::changes`) and the invariants.

use std::collections::BTreeSet;

use holdfast::domain::input::Trigger;
use holdfast::domain::reservation::{CancelReason, State};

use crate::support::database::Database;

const SOURCE: &str = include_str!("../../src/domain/reservation.rs");

type Edges = BTreeSet<(String, String)>;

/// The changes that the product allows.
fn allowed() -> Edges {
    let pairs = State::ALL.iter().flat_map(|&from| State::ALL.iter().map(move |&to| (from, to)));
    pairs
        .filter(|(from, to)| from.can_become(*to))
        .map(|(from, to)| (from.to_string(), to.to_string()))
        .collect()
}

/// The word of a line that stands at or around a column.
fn word_at(line: &str, column: usize) -> Option<&str> {
    let part_of_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let bytes = line.as_bytes();
    part_of_word(*bytes.get(column)?).then(|| {
        let start = bytes[..column].iter().rposition(|b| !part_of_word(*b)).map_or(0, |at| at + 1);
        let end = bytes[column..].iter().position(|b| !part_of_word(*b));
        &line[start..end.map_or(line.len(), |length| column + length)]
    })
}

/// The edges that the module's documentation draws, and those that its text writes as
/// `` `from -> to` ``.
fn drawn() -> Edges {
    let docs: Vec<&str> = SOURCE.lines().map_while(|line| line.strip_prefix("//!")).collect();
    let (first, last) = {
        let mut fences = docs.iter().enumerate().filter(|(_, line)| line.contains("```"));
        (fences.next().expect("a diagram").0, fences.next().expect("its end").0)
    };
    let diagram = &docs[first + 1..last];
    let along = diagram.iter().find(|line| line.contains("->")).expect("a line of states");
    let words: Vec<&str> = along.split_whitespace().collect();
    let across = words.windows(3).filter(|three| three[1].ends_with("->") && three[0] != "(none)");
    let mut edges: Edges = across.map(|three| (three[0].to_owned(), three[2].to_owned())).collect();
    let heads = diagram.iter().position(|line| line.contains(" v ")).expect("arrow heads");
    let columns = diagram[heads].match_indices('v').map(|(column, _)| column);
    edges.extend(columns.map(|column| {
        let word = |line| word_at(line, column).unwrap_or_else(|| panic!("no state at {column}"));
        (word(along).to_owned(), word(diagram[heads + 1]).to_owned())
    }));
    let text = docs[last + 1..].join(" ");
    let quoted = text.split('`').skip(1).step_by(2);
    edges.extend(
        quoted
            .filter_map(|words| words.split_once(" -> "))
            .map(|(from, to)| (from.to_owned(), to.to_owned())),
    );
    edges
}

#[test]
fn the_diagram_shows_what_is_allowed() {
    assert_eq!(drawn(), allowed());
}

#[test]
fn states_come_in_the_order_of_a_life() {
    for (index, to) in State::ALL.iter().copied().enumerate() {
        assert!(!to.can_become(to), "{to} to itself is no change");
        for from in &State::ALL[index..] {
            assert!(!from.can_become(to), "{from} back to {to}");
        }
    }
    assert!(State::ALL.iter().all(|state| *state == State::Held || State::Held.can_become(*state)));
}

/// Returns the words in a table's CHECK on one column.
async fn words_of(database: &Database, table: &str, column: &str) -> BTreeSet<String> {
    let definition: String = database
        .ask(&format!(
            "select pg_get_constraintdef(c.oid) from pg_constraint c
             where c.conrelid = '{table}'::regclass and c.contype = 'c'
               and c.conname = '{table}_{column}_check'"
        ))
        .await;
    definition.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_know_the_same_words() {
    let database = Database::new().await;
    let states = words_of(&database, "reservations", "state").await;
    assert_eq!(states, set(State::ALL.iter().map(|state| state.as_str())));
    let reasons = words_of(&database, "reservations", "cancel_reason").await;
    assert_eq!(reasons, set(CancelReason::ALL.iter().map(|reason| reason.as_str())));
    let triggers = words_of(&database, "history", "trigger").await;
    let told = [Trigger::Message, Trigger::Sweep].map(Trigger::as_str);
    assert_eq!(triggers, set(told.into_iter().chain(["command", "operator"])));
    database.finish().await;
}

/// Partial indexes contain the states that their queries ask for: live or unsettled ones.
#[tokio::test(flavor = "multi_thread")]
async fn the_indexes_hold_the_same_states() {
    let database = Database::new().await;
    type Holds = fn(State) -> bool;
    let cases: [(&str, Holds); 2] = [
        ("reservations_live_by_server", State::is_live),
        ("reservations_due", State::is_unsettled),
    ];
    for (index, expected) in cases {
        let predicate: String = database
            .ask(&format!(
                "select pg_get_expr(indpred, indrelid) from pg_index
                 where indexrelid = '{index}'::regclass"
            ))
            .await;
        for &state in State::ALL {
            let holds: bool = database
                .ask(&format!("select {predicate} from (select text '{state}' as state) row"))
                .await;
            assert_eq!(holds, expected(state), "{state} in {index}");
        }
    }
    database.finish().await;
}

/// The invariants find every change illegal that the product does not make, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn the_invariants_know_the_same_changes() {
    let database = Database::new().await;
    let id = uuid::Uuid::nil();
    for from in [None].into_iter().chain(State::ALL.iter().copied().map(Some)) {
        for &to in State::ALL {
            let session = database.session().await;
            let from_word = from.map_or("null".to_owned(), |state| format!("'{state}'"));
            let line = format!(
                "begin; insert into history values (1, '{id}', {from_word}, '{to}', null,
                     'operator', null, 'operator', null, null, 'cam', now())"
            );
            session.batch_execute(&line).await.expect("a line");
            let violations = crate::support::invariants::violations(&session).await;
            let illegal = violations.iter().any(|violation| violation.starts_with("I9 illegal"));
            let legal = from.map_or(to == State::Held, |from| from.can_become(to));
            assert_eq!(illegal, !legal, "{from_word} to {to}");
        }
    }
    database.finish().await;
}
