//! What the biller and terminals have received, from files with a JSON document per line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use uuid::Uuid;

use crate::domain::reservation::CancelReason::NotReconfirmed;
use crate::domain::reservation::State;
use crate::message::event::{CONFIRMED, CREDITED};

/// Longest line, in bytes. The longest message is some ten kilobytes.
const LINE_LEN_MAX: u64 = 1 << 20;

/// Most ids that are kept, for each kind of file: about 2 GB of memory.
const RECORDS_MAX: usize = 10_000_000;

/// The biller's record of a charge or a credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    pub kind: &'static str,
    pub reservation: Uuid,
    pub user: String,
    pub server: String,
    pub amount_minor: i64,
    pub currency: String,
}

/// Bills by the ids of their events.
pub type Bills = BTreeMap<Uuid, Bill>;

/// All that terminals were told of a reservation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    pub server: String,
    pub reconfirmed: bool,
    pub confirmed: bool,
    /// Cancelled, because nobody reconfirmed it.
    pub lapsed: bool,
    /// Cancelled by its user or an operator.
    pub ended: bool,
}

impl Heard {
    /// The state that comes last in a reservation's life.
    pub fn state(&self) -> State {
        match self {
            Self { lapsed: true, .. } | Self { ended: true, .. } => State::Cancelled,
            Self { confirmed: true, .. } => State::Confirmed,
            Self { reconfirmed: true, .. } => State::Reconfirmed,
            _ => State::Held,
        }
    }
}

/// What terminals were told, by reservation.
pub type Told = BTreeMap<Uuid, Heard>;

/// The fields of an event that matter here. Others are ignored: events only gain fields.
#[derive(Deserialize)]
struct Event {
    id: Uuid,
    #[serde(rename = "type")]
    kind: String,
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    reservation: Uuid,
    user: String,
    server: String,
    amount_minor: i64,
    currency: String,
}

/// The fields of an answer or notice that matter here. Refusals and what is told of servers have none.
#[derive(Deserialize)]
struct Reply {
    reservation: Option<View>,
    #[serde(default)]
    reservations: Vec<View>,
}

#[derive(Deserialize)]
struct View {
    id: Uuid,
    server: String,
    state: String,
    #[serde(default)]
    reconfirmed_at: Option<IgnoredAny>,
    #[serde(default)]
    cancel_reason: Option<String>,
}

/// The events of the biller's files. Other types than charges and credits are left out.
pub fn read_bills(paths: &[PathBuf]) -> Result<Bills> {
    let mut bills = Bills::new();
    each_line(paths, |event: Event| {
        let kind = match event.kind.as_str() {
            CONFIRMED => "charge",
            CREDITED => "credit",
            _ => return Ok(()),
        };
        let EventData { reservation, user, server, amount_minor, currency } = event.data;
        bills.insert(event.id, Bill { kind, reservation, user, server, amount_minor, currency });
        bounded(bills.len())
    })?;
    Ok(bills)
}

/// What the answers and notices of terminals' files say of reservations.
pub fn read_told(paths: &[PathBuf]) -> Result<Told> {
    let mut told = Told::new();
    each_line(paths, |reply: Reply| {
        for view in reply.reservation.into_iter().chain(reply.reservations) {
            let state: State = view.state.parse().context("unknown state")?;
            let heard = told.entry(view.id).or_default();
            heard.server = view.server;
            heard.reconfirmed |= view.reconfirmed_at.is_some() || state == State::Reconfirmed;
            heard.confirmed |= state == State::Confirmed;
            let lapsed = view.cancel_reason.as_deref() == Some(NotReconfirmed.as_str());
            heard.lapsed |= state == State::Cancelled && lapsed;
            heard.ended |= state == State::Cancelled && !lapsed;
        }
        bounded(told.len())
    })?;
    Ok(told)
}

fn bounded(records: usize) -> Result<()> {
    if records > RECORDS_MAX {
        bail!("more than {RECORDS_MAX} records; give a part of them, and a shorter time");
    }
    Ok(())
}

/// Hands over the document of each line that is not empty.
fn each_line<T: DeserializeOwned>(
    paths: &[PathBuf],
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    for path in paths {
        let file =
            File::open(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        let mut reader = BufReader::new(file);
        for number in 1.. {
            let at = || format!("{}, line {number}", path.display());
            let Some(line) = next_line(&mut reader, path)? else { break };
            if line.trim_ascii().is_empty() {
                continue;
            }
            let document = serde_json::from_slice(&line)
                .with_context(|| format!("{}: not the JSON document of a message", at()))?;
            take(document).with_context(at)?;
        }
    }
    Ok(())
}

/// The next line; `None` at the end.
fn next_line(reader: &mut BufReader<File>, path: &Path) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = reader.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line);
    match read.with_context(|| format!("{}: cannot be read", path.display()))? {
        0 => Ok(None),
        _ => Ok(Some(line)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(lines: &[&str]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        file
    }

    const ID: &str = "01a207ac-4fe7-70d8-ad75-75af93e63c96";

    #[test]
    fn all_that_was_said_of_a_reservation_counts() {
        let held = format!(r#"{{"reservation":{{"id":"{ID}","server":"s","state":"held"}}}}"#);
        let listed = format!(
            r#"{{"type":"x","reservations":[{{"id":"{ID}","server":"s","state":"cancelled",
            "cancel_reason":"withdrawn","reconfirmed_at":"2031-01-01T00:00:00Z"}}]}}"#
        );
        let listed = listed.replace('\n', " ");
        let refused = r#"{"type":"reservation.refused","code":"x"}"#;
        let file = file(&[&listed, "", &held, refused]);
        let told = read_told(&[file.path().to_owned()]).unwrap();
        let heard = &told[&ID.parse::<Uuid>().unwrap()];
        assert!(heard.reconfirmed && heard.ended && !heard.lapsed && !heard.confirmed);
        assert_eq!(heard.state(), State::Cancelled);
    }

    #[test]
    fn a_line_that_is_no_message_is_named() {
        let file = file(&["{}", "{\"reservation\":1}"]);
        let error = read_told(&[file.path().to_owned()]).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        let error = read_bills(&[file.path().to_owned()]).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
        assert!(read_bills(&["/nowhere/at/all".into()]).is_err());
    }
}
