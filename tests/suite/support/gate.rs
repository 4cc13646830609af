//! A gate between a client and PostgreSQL that lets statements through phase by phase.
//!
//! The product sends whole pipelines, and which lock, read or write of two sessions comes first is
//! up to the network. Behind gates it is up to the test: each session's statements wait until its
//! next phase is let through, and the product's own code runs unchanged. `schedule` decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use url::Url;

use super::engines::DATABASE_URL;

/// How finely a session is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phases {
    /// Each locking statement, then the reads, the writes, the commit.
    Fine,
    /// The locks together.
    Coarse,
    /// What is written, with its commit; everybody reads as soon as locks allow.
    Writes,
}

/// What stands between a client and the server at the moment.
#[derive(Default)]
struct State {
    /// The server process, once it has said so.
    pid: i32,
    /// Statements that went through and are not answered yet.
    unanswered: u32,
    /// The phase that waits at the gate.
    waiting: Option<String>,
    /// The phase that may pass.
    passing: Option<String>,
    /// Whether everything may pass.
    open: bool,
}

/// A gate with an address of its own. Serves one connection at a time; a new one replaces the old.
pub struct Gate {
    url: String,
    state: Arc<Mutex<State>>,
    moved: Arc<Notify>,
    changed: Arc<Notify>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Gate {
    /// A gate before the database of `url`. `changed` is told whenever something moves.
    pub async fn before(url: &str, phases: Phases, changed: Arc<Notify>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut url: Url = url.parse().expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        let port = listener.local_addr().expect("an address").port();
        url.set_port(Some(port)).expect("a port");
        let (state, moved) = (Arc::<Mutex<State>>::default(), Arc::<Notify>::default());
        let mut passage = Passage {
            state: state.clone(),
            moved: moved.clone(),
            changed: changed.clone(),
            phases,
            texts: HashMap::new(),
        };
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                passage.serve(client).await;
            }
        });
        Self { url: url.into(), state, moved, changed, server }
    }

    /// Where the client connects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server process behind the gate.
    pub fn pid(&self) -> i32 {
        self.state.lock().expect("no panics").pid
    }

    /// The phase that waits, once everything before it is answered.
    pub fn waiting(&self) -> Option<String> {
        let state = self.state.lock().expect("no panics");
        state.waiting.clone().filter(|_| state.unanswered == 0)
    }

    /// Lets the waiting phase through.
    pub fn pass(&self) {
        let mut state = self.state.lock().expect("no panics");
        state.passing = state.waiting.take();
        self.moved.notify_one();
    }

    /// Lets everything through, or nothing without being asked.
    pub fn set_open(&self, open: bool) {
        let mut state = self.state.lock().expect("no panics");
        state.open = open;
        state.passing = None;
        self.moved.notify_one();
        self.changed.notify_one();
    }
}

/// The way through a gate.
struct Passage {
    state: Arc<Mutex<State>>,
    moved: Arc<Notify>,
    changed: Arc<Notify>,
    phases: Phases,
    /// Prepared statements by name.
    texts: HashMap<Vec<u8>, String>,
}

impl Passage {
    async fn serve(&mut self, client: TcpStream) {
        let (host, port) = (DATABASE_URL.host_str().expect("a host"), DATABASE_URL.port());
        let server = TcpStream::connect((host, port.unwrap_or(5432))).await.expect("PostgreSQL");
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("a socket");
        }
        let open = self.state.lock().expect("no panics").open;
        *self.state.lock().expect("no panics") = State { open, ..State::default() };
        self.texts.clear();
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        let answers =
            tokio::spawn(answers(from_server, to_client, self.state.clone(), self.changed.clone()));
        // Reads on while the gate is closed, so that a client that leaves is noticed.
        let (to_gate, mut at_gate) = mpsc::unbounded_channel();
        let reader = tokio::spawn(requests(from_client, to_gate));
        self.statements(&mut at_gate, to_server).await;
        answers.abort();
        reader.abort();
    }

    /// Passes on what the client sends until the client leaves; leaving closes the server's side.
    async fn statements(
        &mut self,
        at_gate: &mut mpsc::UnboundedReceiver<Option<Group>>,
        mut to_server: OwnedWriteHalf,
    ) {
        let mut groups: std::collections::VecDeque<Group> = Default::default();
        loop {
            while let Some(group) = groups.pop_front() {
                if !self.may_pass(&group) {
                    groups.push_front(group);
                    break;
                }
                if to_server.write_all(&group.bytes).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                next = at_gate.recv() => match next.flatten() {
                    Some(group) => groups.push_back(group),
                    None => return,
                },
                () = self.moved.notified() => {}
            }
        }
    }

    /// Whether a group may pass now; if not, its phase waits.
    fn may_pass(&mut self, group: &Group) -> bool {
        self.texts.extend(group.parsed.iter().cloned());
        let phase = group.phase(&self.texts, self.phases);
        let mut state = self.state.lock().expect("no panics");
        let passes = state.open || phase.is_none() || state.passing == phase;
        if passes {
            state.unanswered += u32::from(group.answered);
        } else {
            state.waiting = phase;
        }
        drop(state);
        self.changed.notify_one();
        passes
    }
}

/// What a client sends up to the point where the server answers.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    /// Statements prepared by it, by name.
    parsed: Vec<(Vec<u8>, String)>,
    /// The name of the prepared statement, or the text, that it runs.
    runs: Option<Result<Vec<u8>, String>>,
    /// Whether the server says when it is ready again.
    answered: bool,
}

impl Group {
    fn phase(&self, texts: &HashMap<Vec<u8>, String>, phases: Phases) -> Option<String> {
        match self.runs.as_ref()? {
            Ok(name) => phase_of(texts.get(name).map_or("", String::as_str), phases),
            // Typed by hand: each statement is a phase of its own.
            Err(text) => phase_of(text, phases)
                .map(|phase| if phase == "commit" { phase } else { text.clone() }),
        }
    }
}

/// The phase that a statement belongs to. Opening a transaction takes neither locks nor a snapshot
/// and belongs to none.
fn phase_of(text: &str, phases: Phases) -> Option<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim().starts_with("--")).collect();
    let code = code.join(" ").trim().to_ascii_lowercase();
    let writes = ["insert into ", "update ", "delete from "];
    let also = ["commit", "select from users", "select nextval"];
    let is_write = writes.iter().any(|word| code.contains(word))
        || also.iter().any(|start| code.starts_with(start));
    Some(match () {
        () if code.starts_with("begin") => return None,
        () if phases == Phases::Writes && is_write => "write".to_owned(),
        () if phases == Phases::Writes => return None,
        () if code.starts_with("commit") => "commit".to_owned(),
        () if code.contains("for no key update") && phases == Phases::Fine => code,
        () if code.contains("for no key update") => "lock".to_owned(),
        () if writes.iter().any(|word| code.contains(word)) => "write".to_owned(),
        () => "read".to_owned(),
    })
}

/// Cuts what the client sends into groups. `None` when the client leaves.
async fn requests(mut from: OwnedReadHalf, to: mpsc::UnboundedSender<Option<Group>>) {
    let mut startup = true;
    let mut group = Group::default();
    while let Some((kind, message)) = read_message(&mut from, startup).await {
        startup = false;
        let body = message.get(5..).unwrap_or_default();
        let mut texts = body.split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default().to_vec();
        let ends = match kind {
            b'P' => {
                let (name, text) = (text(), String::from_utf8(text()).expect("UTF-8"));
                group.parsed.push((name, text));
                false
            }
            b'B' => {
                let _portal = text();
                group.runs = Some(Ok(text()));
                false
            }
            b'Q' => {
                group.runs = Some(Err(String::from_utf8(text()).expect("UTF-8")));
                true
            }
            b'D' | b'E' | b'C' | b'H' => false,
            _ => true,
        };
        group.bytes.extend(message);
        group.answered = matches!(kind, b'Q' | b'S');
        if ends && to.send(Some(std::mem::take(&mut group))).is_err() {
            return;
        }
    }
    to.send(None).ok();
}

/// Passes on what the server sends, counting the statements that are answered.
async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
) {
    while let Some((kind, message)) = read_message(&mut from, false).await {
        if to.write_all(&message).await.is_err() {
            return;
        }
        let mut state = state.lock().expect("no panics");
        match kind {
            b'K' => {
                let pid = message[5..9].try_into().expect("four bytes");
                state.pid = i32::from_be_bytes(pid);
            }
            // The first one ends the connection's startup, which nobody counted.
            b'Z' => state.unanswered = state.unanswered.saturating_sub(1),
            _ => continue,
        }
        changed.notify_one();
    }
}

/// One message with its head; its kind is zero for the startup message, which has none.
async fn read_message(from: &mut OwnedReadHalf, startup: bool) -> Option<(u8, Vec<u8>)> {
    let kind = if startup { 0 } else { from.read_u8().await.ok()? };
    let length = from.read_u32().await.ok()?;
    let mut message = if startup { Vec::new() } else { vec![kind] };
    message.extend(length.to_be_bytes());
    let head = message.len();
    message.resize(head + usize::try_from(length).expect("a length") - 4, 0);
    from.read_exact(&mut message[head..]).await.ok()?;
    Some((kind, message))
}
