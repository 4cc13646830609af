//! The command line; one module per group of commands.
//!
//! Results go to standard output, hints and errors to standard error. The binary handles signals
//! and exits.

mod account;
mod billing;
mod client;
mod completions;
pub mod config;
mod context;
mod dead_letter;
mod doctor;
mod event;
pub mod exit;
mod history;
mod installation;
mod man;
mod migrate;
mod moves;
mod output;
mod pause;
mod policy;
mod range;
mod reconcile;
mod recount;
mod reservation;
mod secret;
mod server;
mod status;
mod terminal;
mod topology;
mod user;
mod view;
mod when;
mod why;

use std::ffi::OsString;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::gate;
use crate::worker;
use config::flags::{self, Flags};
use config::{
    AMQP_URL, Config, ConfigError, DATABASE_URL, GATE_ADAPTER, GATE_CONTROL_URL, GATE_SERVER,
    MANAGEMENT_URL,
};
use context::Context;
use output::Output;

pub use context::Stop;

const AFTER_HELP: &str = "\
Setting up an installation:
  holdfast migrate
  holdfast topology apply
  holdfast server add gpu-1 --capacity 4 --rate-minor 1250 --currency EUR \\
      --connection-url https://gpu-1.example/
  holdfast user add alice
  holdfast terminal add alice-1 --user alice
  holdfast account add database-worker holdfast_worker
  holdfast account add broker-worker holdfast_worker
  holdfast worker

Exit codes:
  0 done   1 failed   2 wrong usage   3 a check failed or is red, or the schema is not migrated
  4 refused   5 no answer in time
  75 the database, the broker or its management API is away, or a lock is held; try again
  78 the configuration is wrong: a setting, an account, its rights, a database or a vhost";

/// Reservation control service: holds, reconfirmations, deadlines and billing.
///
/// Every setting is an environment variable and a flag; the flag wins, and empty means unset.
#[derive(Parser)]
#[command(name = "holdfast", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// Print results as JSON, one document per line
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    flags: Flags<flags::Everyone>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Decide commands and settle deadlines until SIGTERM or Ctrl-C
    ///
    /// Any number of workers can run side by side. On the first signal the worker finishes its batches
    /// and hands its partitions over. On the second it ends at once, which loses nothing either.
    Worker(Flags<flags::Worker>),
    /// Let the streaming server beside it admit who has reserved, until SIGTERM or Ctrl-C
    ///
    /// The streaming server asks the gate by HTTP who may publish and who may watch, and the gate
    /// disconnects who must go: at the end of a reservation, or when it is cancelled. It admits from memory, so
    /// the database may be away for a while, and running streams go on without a gate. Any number of gates can
    /// guard one server. Its database account is made with `holdfast account add database-gate NAME`.
    Gate(Flags<flags::Gate>),
    /// Bring the database's schema up to date
    Migrate(migrate::Args),
    /// Which installation a database is
    #[command(subcommand)]
    Installation(installation::Command),
    /// Accounts of the database and the broker, each with the rights that its work needs
    #[command(subcommand)]
    Account(account::Command),
    /// What is declared on the broker
    #[command(subcommand)]
    Topology(topology::Command),
    /// Processing servers: what can be reserved
    #[command(subcommand)]
    Server(server::Command),
    /// Users: whose quota counts and who is billed
    #[command(subcommand)]
    User(user::Command),
    /// The policy for all: quota periods, default limits, retention
    #[command(subcommand)]
    Policy(policy::Command),
    /// Terminals: the broker accounts that users send commands with
    #[command(subcommand)]
    Terminal(terminal::Command),
    /// Act as a terminal: send a command and wait for its answer
    #[command(subcommand)]
    Client(client::Command),
    /// Let commands and deadlines wait in their queues, of all partitions or of one
    ///
    /// Workers finish what they have begun, and decide nothing more there until `holdfast resume`; a
    /// restarted worker does not either. Commands are still accepted by the broker. They are decided in the
    /// order in which they came: a reconfirmation that came before its deadline is in time, however long it
    /// waits. Queries are answered, and bills and notices of what is decided go out. Returns when no worker
    /// decides any more.
    Pause(pause::Pausing),
    /// End a pause: what has waited is decided in order
    ///
    /// Each pause ends on its own: without --partition or --server, that of all partitions.
    Resume(pause::Pausing),
    /// Messages that nobody could decide
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    /// Events, once more
    #[command(subcommand)]
    Event(event::Command),
    /// What became of reservations
    #[command(subcommand)]
    Reservation(reservation::Command),
    /// What is billed
    #[command(subcommand)]
    Billing(billing::Command),
    /// How the installation is doing: workers, partitions, overdue deadlines, outbox, dead letters
    ///
    /// It reads only, and shows what one engine knows if another is away; then it exits with 75. Of many
    /// workers and partitions it shows those that are worst off; --json lists all. With the management API at
    /// hand it also tells what workers have in hand, and how long a new message would wait. An account of a
    /// database and of a broker that may only look is enough.
    Status(status::Args),
    /// Look for everything that is known to go wrong, and say what to do about it
    ///
    /// Checks engines, settings, schema, declarations, policies, accounts, clocks, workers and what waits, and
    /// sends a message through the delay ladder and one through each partition and its worker and back. Exits
    /// with 3 if a check is red. Without the management API, or with accounts that may only look, it skips what
    /// it cannot see, and says so.
    Doctor(doctor::Args),
    /// Find what the biller or terminals were told and the database does not have
    ///
    /// For the time after a restored backup, a failover to a standby that lagged, or a broker that was
    /// lost. The list is as complete as the files are. Exits with 3 if something differs.
    Reconcile(reconcile::Reconcile),
    /// Print a script that lets a shell complete commands
    Completions(completions::Args),
    /// Print a manual page, or write all of them
    Man(man::Args),
}

impl Cli {
    /// Whether it runs until it is stopped.
    pub fn is_worker(&self) -> bool {
        matches!(self.command, Command::Worker(_))
    }

    /// Reads the configuration. Flags win over `environment`, which looks up a variable.
    pub fn read_config(
        &self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, ConfigError> {
        let own = |name: &str| match &self.command {
            Command::Worker(flags) => flags.get(name),
            Command::Gate(flags) => flags.get(name),
            _ => None,
        };
        let flag = |name: &str| self.flags.get(name).or_else(|| own(name)).cloned();
        Config::read(flag, environment, self.command.needs(), self.command.log_default())
    }

    /// Runs the command. [`exit::exit_code`] maps its error.
    pub async fn run(self, config: Config, stop: Stop) -> Result<()> {
        let context = Context { config, output: Output { json: self.json }, stop };
        match self.command {
            Command::Worker(_) => worker::run(context.config.worker()?, context.stop.drain()).await,
            Command::Gate(_) => gate::run(context.config.gate()?, context.stop.drain()).await,
            Command::Migrate(args) => migrate::run(&context, args).await,
            Command::Installation(command) => installation::run(&context, command).await,
            Command::Account(command) => account::run(&context, command).await,
            Command::Topology(command) => topology::run(&context, command).await,
            Command::Server(command) => server::run(&context, command).await,
            Command::User(command) => user::run(&context, command).await,
            Command::Policy(command) => policy::run(&context, command).await,
            Command::Terminal(command) => terminal::run(&context, command).await,
            Command::Client(command) => client::run(&context, command).await,
            Command::DeadLetter(command) => dead_letter::run(&context, command).await,
            Command::Event(command) => event::run(&context, command).await,
            Command::Pause(args) => pause::pause(&context, args).await,
            Command::Resume(args) => pause::resume(&context, args).await,
            Command::Reservation(command) => reservation::run(&context, command).await,
            Command::Billing(command) => billing::run(&context, command).await,
            Command::Status(args) => status::run(&context, args).await,
            Command::Doctor(args) => doctor::run(&context, args).await,
            Command::Reconcile(args) => reconcile::run(&context, args).await,
            Command::Completions(args) => completions::run(&context, &args, Cli::command()),
            Command::Man(args) => man::run(&context, args, Cli::command()),
        }
    }
}

impl Command {
    /// Settings it needs.
    fn needs(&self) -> &'static [&'static str] {
        match self {
            Command::Account(command) => command.needs(),
            Command::DeadLetter(command) => command.needs(),
            Command::Event(command) => command.needs(),
            Command::Gate(_) => &[DATABASE_URL, GATE_SERVER, GATE_ADAPTER, GATE_CONTROL_URL],
            Command::Worker(_)
            | Command::Topology(_)
            | Command::Status(_)
            | Command::Doctor(_)
            | Command::Server(server::Command::Add(_) | server::Command::Move(_)) => {
                &[DATABASE_URL, AMQP_URL]
            }
            Command::Terminal(terminal::Command::Add { .. } | terminal::Command::Rotate { .. }) => {
                &[DATABASE_URL, AMQP_URL, MANAGEMENT_URL]
            }
            Command::Client(_) | Command::Billing(billing::Command::Tail(_)) => &[AMQP_URL],
            Command::Migrate(_)
            | Command::Installation(_)
            | Command::Server(_)
            | Command::User(_)
            | Command::Policy(_)
            | Command::Terminal(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Reservation(_)
            | Command::Billing(_)
            | Command::Reconcile(_) => &[DATABASE_URL],
            Command::Completions(_) | Command::Man(_) => &[],
        }
    }

    /// A worker has only its log; a command has its output. lapin repeats our own errors.
    fn log_default(&self) -> &'static str {
        match self {
            Command::Worker(_) | Command::Gate(_) => "info,lapin=off",
            _ => "warn,lapin=off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use config::settings;

    fn parse(words: &[&str]) -> Cli {
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_variable_has_a_flag_whose_help_names_it() {
        let mut command = Cli::command();
        let mut of = |name: &str| command.find_subcommand_mut(name).unwrap().render_long_help();
        let (worker, gate) = (of("worker"), of("gate"));
        let help = format!("{} {worker} {gate}", command.render_long_help());
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let names = settings().into_iter().flat_map(|about| {
            let command = if about.scope == config::Scope::Gate { "gate" } else { "worker" };
            let value = (about.variable.to_owned(), about.flag.to_owned());
            let both = std::iter::once(value).chain(about.file_variable().zip(about.file_flag()));
            both.map(move |(name, flag)| (command, name, flag))
        });
        for (command, name, flag) in names {
            let Cli { flags, command, .. } =
                parse(&["holdfast", command, &format!("--{flag}"), "x"]);
            let own = match &command {
                Command::Worker(flags) => flags.get(&flag),
                Command::Gate(flags) => flags.get(&flag),
                _ => panic!("neither"),
            };
            let value = flags.get(&flag).or(own);
            assert_eq!(value.map(String::as_str), Some("x"), "{flag}");
            assert!(help.contains(&format!("[env: {name}]")), "{name}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let cli = parse(&["holdfast", "worker", "--batch-max", "5"]);
        let config = cli.read_config(|name| match name {
            "DATABASE_URL" => Some("postgres://a@b/c".into()),
            "AMQP_URL" => Some("amqp://a:b@c/d".into()),
            "HOLDFAST_BATCH_MAX" => Some("6".into()),
            _ => None,
        });
        assert_eq!(config.unwrap().worker().unwrap().batch_max, 5);
    }

    #[test]
    fn what_a_command_needs_and_lacks_is_told_at_once() {
        let cli = parse(&["holdfast", "terminal", "add", "t", "--user", "u"]);
        let error = cli.read_config(|_| None).unwrap_err();
        assert_eq!(error.0.len(), 3, "{error}");
    }

    #[test]
    fn wrong_usage_is_refused() {
        for arguments in [
            &["topology", "apply", "--partitions", "0"][..],
            &["topology", "apply", "--delay-levels", "25"],
            &["policy", "set"],
            &["user", "add", "Not.An.Id"],
            &["server", "set", "s"],
            &["client", "request", "--server", "s", "--start", "soon", "--end", "+2h"],
            &["client", "show", "no-uuid"],
            &[],
        ] {
            let words = ["holdfast"].iter().chain(arguments);
            assert!(Cli::try_parse_from(words).is_err(), "{arguments:?}");
        }
    }
}
