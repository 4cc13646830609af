//! `holdfast dead-letter`: messages that nobody could decide.

mod collect;
mod discard;
mod lines;
mod list;
mod replay;
mod selection;
mod show;

use anyhow::Result;
use clap::Subcommand;
use uuid::Uuid;

use super::config::{AMQP_URL, DATABASE_URL};
use super::context::Context;
use selection::{Change, List};

#[derive(Subcommand)]
#[command(after_help = "\
What to do with letters: see what they have in common, repair that, and have them decided once more
  holdfast dead-letter list --causes
  holdfast dead-letter replay --reason unknown_terminal --dry-run
  holdfast dead-letter replay --reason unknown_terminal --why 'terminals were restored'

Each of these commands first files what stands in the broker's queue into the database. What is filed stays until
it is replayed or discarded.")]
pub(super) enum Command {
    /// List dead letters, the oldest first, or their causes
    List(List),
    /// Print all that is known of a letter, with its body
    Show {
        /// The letter's id, as listed
        id: Uuid,
    },
    /// Have letters decided once more
    ///
    /// A replay has the message id, sender and body of its message and goes to the tail of its server's
    /// queue. It is decided by the rules of then: a request whose start has passed is refused. Its sender gets
    /// the answer. If the message was decided meanwhile, because its sender repeated it, that answer is
    /// repeated and nothing changes. A letter that dies again is open again.
    Replay(Change),
    /// Let nothing come of letters; they are kept as discarded for as long as reservations are
    Discard(Change),
}

impl Command {
    /// Settings that it needs. Without the broker, what stands in its queue is not seen.
    pub(super) fn needs(&self) -> &'static [&'static str] {
        match self {
            Command::Replay(_) => &[DATABASE_URL, AMQP_URL],
            Command::List(_) | Command::Show { .. } | Command::Discard(_) => &[DATABASE_URL],
        }
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let mut database = context.database().await?;
    collect::file(context, &mut database).await?;
    match command {
        Command::List(list) => list::run(context, &database, list).await,
        Command::Show { id } => show::run(context, &database, id).await,
        Command::Replay(change) => replay::run(context, &database, change).await,
        Command::Discard(change) => discard::run(context, &database, change).await,
    }
}
