//! The list of all faults.

use anyhow::Result;
use futures::future::BoxFuture;

use super::{
    Chaos, failover, on_broker, on_database, on_links, on_messages, on_moves, on_places, on_pooler,
    on_rules, on_surroundings, on_workers, on_zones, others,
};
use crate::pick::Pick;

/// Faults of one lane happen one after the other; lanes run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Links,
    Workers,
    Broker,
    Database,
    Messages,
    Moves,
}

impl Lane {
    pub const ALL: [Lane; 6] =
        [Lane::Links, Lane::Workers, Lane::Broker, Lane::Database, Lane::Messages, Lane::Moves];

    /// Whether its faults need private engines.
    pub fn needs_engines(self) -> bool {
        matches!(self, Lane::Broker | Lane::Database)
    }
}

/// Brings a fault about, lets it last, heals it, and returns a description.
type Inject = for<'a> fn(&'a Chaos, &'a mut Pick) -> BoxFuture<'a, Result<String>>;

pub struct Fault {
    pub name: &'static str,
    pub lane: Lane,
    /// Weight when drawing. Zero: only if requested by name.
    pub weight: u32,
    pub about: &'static str,
    pub inject: Inject,
}

macro_rules! faults {
    ($($lane:ident $weight:literal $name:literal $inject:path, $about:literal;)*) => {
        pub const ALL: &[Fault] = &[$(Fault {
            name: $name,
            lane: Lane::$lane,
            weight: $weight,
            about: $about,
            inject: |chaos, pick| Box::pin($inject(chaos, pick)),
        }),*];
    };
}

faults! {
    Links 4 "tcp-reset" on_links::reset, "connections are reset";
    Links 4 "blackhole" on_links::blackhole, "nothing passes, nobody is told";
    Links 4 "half-open" on_links::half_open, "nothing passes in one direction";
    Links 3 "latency" on_links::latency, "everything is late, by a varying time";
    Links 2 "slicing" on_links::slicing, "bytes arrive one by one";
    Links 2 "rate-limit" on_links::rate, "a narrow line";
    Links 4 "cut-at-byte" on_links::cut, "connections break in the middle of a frame";
    Links 4 "cut-mid-commit" on_links::cut_commit, "a worker's session breaks in mid-transaction";
    Links 3 "connection-refused" on_links::refuse, "no new connections, and the old ones break";
    Links 4 "lost-acks" on_links::lost_acks, "what a worker tells the broker is lost";
    Links 4 "lost-confirms" on_links::lost_confirms, "what the broker tells a worker is lost";
    Links 3 "half-dead-owner" on_links::half_dead_owner, "a worker loses one engine and keeps the other";
    Workers 8 "kill" on_workers::kill, "SIGKILL for some";
    Workers 3 "kill-all" on_workers::kill_all, "SIGKILL for all";
    Workers 3 "stop" on_workers::stop, "SIGTERM for one, and another one comes";
    Workers 3 "kill-while-stopping" on_workers::kill_while_stopping, "SIGKILL while it drains";
    Workers 2 "rolling-restart" on_workers::rolling_restart, "every worker is replaced, in turn";
    Workers 4 "freeze" on_workers::freeze, "SIGSTOP for some seconds";
    Workers 3 "frozen-owner" on_workers::frozen_owner, "SIGSTOP until others have taken over";
    Workers 2 "churn" on_workers::churn, "workers come and go every second";
    Workers 0 "wrong-clock" on_workers::wrong_clock, "an hour off, either way, or ten times as fast";
    Workers 2 "log-unwritable" on_surroundings::log_unwritable, "its reader is gone or stalls, or the disk is full";
    Workers 2 "silent-start" on_surroundings::silent_start, "an engine accepts and says nothing, and workers are stopped";
    Workers 2 "first-address-silent" on_surroundings::first_address_silent, "of several";
    Workers 2 "password-changed" on_surroundings::password_changed, "in a file, and the old one is refused";
    Workers 2 "account-rotated" on_surroundings::account_rotated, "workers get another account, the old one is deleted";
    Workers 2 "pooler" on_pooler::pooler, "a PgBouncer that drops what a session is told";
    Broker 2 "broker-restart" on_broker::restart, "stop_app, start_app";
    Broker 2 "broker-kill" on_broker::kill, "SIGKILL, and a new start";
    Broker 1 "broker-alone" on_broker::restart_alone, "a restart of either kind while no worker runs";
    Broker 2 "broker-freeze" on_broker::freeze, "SIGSTOP for up to half a minute";
    Broker 3 "disk-alarm" on_broker::disk_alarm, "publishers are blocked";
    Broker 3 "memory-alarm" on_broker::memory_alarm, "publishers are blocked";
    Broker 3 "close-connections" on_broker::close_connections, "the broker throws everybody out";
    Broker 0 "ack-timeout" on_broker::ack_timeout, "consumers that cannot acknowledge are given up";
    Broker 3 "reply-queue-deleted" on_broker::delete_reply_queue, "with the answers in it";
    Broker 0 "partition-deleted" on_broker::delete_partition, "a consumed queue, with the commands in it";
    Broker 3 "ladder-purged" on_broker::purge_ladder, "every wake-up on its way is lost";
    Broker 2 "billing-queue-full" on_broker::full_billing_queue, "events are refused";
    Broker 2 "full-subscriber" others::full_subscriber, "somebody's queue refuses events";
    Broker 1 "broker-policy" others::broker_policy, "an administrator's, over all queues";
    Broker 1 "second-installation" others::second_installation, "another database, the same broker";
    Broker 2 "partition-full" on_broker::full_partition, "commands and wake-ups are refused";
    Database 3 "database-restart" on_database::restart_fast, "a fast shutdown, and a new start";
    Database 3 "database-crash" on_database::restart_immediately, "an immediate shutdown, and a recovery";
    Database 2 "database-kill" on_database::kill, "SIGKILL for the postmaster";
    Database 2 "session-kill" on_database::kill_session, "SIGKILL for one session";
    Database 3 "database-freeze" on_database::freeze, "SIGSTOP for up to 25 s";
    Database 1 "database-outage" on_database::outage, "away for up to 30 s";
    Database 4 "sessions-terminated" on_database::terminate, "some, or all";
    Database 4 "lock-hog" on_database::lock_hog, "somebody holds servers and users";
    Database 3 "deadlocks" on_database::deadlocks, "somebody locks in reverse order";
    Database 2 "connections-exhausted" on_database::exhausted, "no session is left";
    Database 2 "disk-full" on_database::disk_full, "nothing more can be written";
    Database 2 "read-only" on_database::read_only, "as on a standby";
    Database 0 "failover" failover::failover, "a synchronous standby takes over, and the old server stays";
    Database 0 "clock-back" on_database::clock_back, "by five minutes, while it runs";
    Database 1 "clock-ahead" on_database::clock_ahead, "by 500 days, while it runs";
    Database 1 "collation" on_rules::collation, "the locale's rules change under its name";
    Database 1 "zone-rules" on_zones::zone_rules, "change while it runs, for new sessions only";
    Messages 4 "duplicates" on_messages::duplicates, "commands come again, shuffled";
    Messages 0 "id-reused" on_messages::reuse_ids, "ids that were used, for other commands";
    Messages 2 "too-soon" on_messages::too_soon, "changes of what does not exist yet";
    Messages 2 "malformed" on_messages::malformed, "what no decoder takes";
    Messages 2 "flood" on_messages::flood, "one terminal sends without end";
    Messages 4 "wake-ups" on_messages::wake_ups, "early, late, in hops, repeated, shuffled";
    Messages 2 "poison" on_messages::poison, "what nobody can be answered to";
    Messages 2 "freed-place" on_places::freed_place, "others ask for what an operator gives back";
    Messages 2 "slow-biller" on_messages::slow_biller, "bills pile up";
    Messages 1 "unknown-server" on_messages::unknown_server, "what no queue takes";
    Moves 4 "server-move" on_moves::server_move, "a server changes its queue, and the operator may die";
    Moves 1 "partition-added" on_moves::partition_added, "one more queue, and servers are spread anew";
}

/// Finds a fault by name.
pub fn named(name: &str) -> Option<&'static Fault> {
    ALL.iter().find(|fault| fault.name == name)
}
