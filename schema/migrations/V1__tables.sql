-- All tables. Migrations only go forward: a later change is a new file.
--
-- Times are timestamptz (UTC), money is bigint minor units, intervals are half-open and bounded.
-- A reservation is live unless it is cancelled: it takes capacity and counts against the quota.

-- Settings that all replicas share, so that no replica's environment can differ.
create table policy (
    only_row                  boolean primary key default true check (only_row),
    quota_period              text    not null default 'month' check (quota_period in ('day', 'week', 'month')),
    quota_zone                text    not null default 'UTC',
    quota_default_seconds     bigint  not null default 360000 check (quota_default_seconds >= 0),
    holds_default_max         integer not null default 100 check (holds_default_max > 0),
    -- How long a repeated message id gets its stored answer. Reservations are kept for longer than the
    -- answers that name them.
    answers_kept_seconds      bigint  not null default 2592000 check (answers_kept_seconds >= 86400),
    -- How long a reservation and its messages are kept after its end: at least 40 days, more than the
    -- longest quota period that it counts in.
    reservations_kept_seconds bigint  not null default 34560000
        check (reservations_kept_seconds >= 3456000 and reservations_kept_seconds >= answers_kept_seconds),
    -- Most commands per second and partition from one terminal; null: no limit.
    terminal_rate_max         integer check (terminal_rate_max > 0),
    -- Most queries per second and worker from one terminal; null: no limit.
    query_rate_max            integer check (query_rate_max > 0)
);
insert into policy default values;

-- Which installation this is. The broker's vhost bears the same id, so that two databases never share one.
create table installation (
    only_row   boolean primary key default true check (only_row),
    id         uuid not null default gen_random_uuid(),
    created_at timestamptz not null default clock_timestamp()
);
insert into installation default values;

-- Broker accounts of workers, each recorded by a worker that starts with it. Wake-ups and fences are
-- believed from all of them, also from retired ones: what these have published may wait for months.
create table worker_accounts (
    name       text primary key,
    added_at   timestamptz not null default clock_timestamp(),
    retired_at timestamptz                      -- null: in use
);

-- The applied broker topology. Workers read it here instead of in their environment.
create table topology (
    only_row     boolean primary key default true check (only_row),
    partitions   integer not null check (partitions between 1 and 256),
    -- New servers go to the partitions below this number. It is lower than `partitions` while the last
    -- ones are emptied, so that they can be removed.
    open_partitions integer not null check (open_partitions between 1 and partitions),
    delay_levels integer not null check (delay_levels between 1 and 24),
    applied_at   timestamptz not null default clock_timestamp()
);

create table servers (
    id               text primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    capacity         integer not null check (capacity between 1 and 10000),
    open             boolean not null default true,
    rate_minor       bigint  not null check (rate_minor between 0 and 100000000000),  -- per hour
    currency         text    not null check (currency ~ '^[A-Z]{3}$'),
    tariff_version   integer not null default 1,
    slot_seconds     integer not null default 60 check (slot_seconds between 1 and 86400),
    min_seconds      integer not null default 60 check (min_seconds > 0),
    max_seconds      integer not null default 86400 check (max_seconds between min_seconds and 2678400),
    gap_seconds      integer not null default 0 check (gap_seconds between 0 and 86400),
    lead_seconds     integer not null default 21600 check (lead_seconds between 0 and 31536000),
    -- How long before the deadline a held reservation's terminal is reminded; 0: never.
    reminder_seconds integer not null default 3600 check (reminder_seconds between 0 and 31536000),
    horizon_seconds  integer not null default 7776000 check (horizon_seconds between 1 and 63072000),
    late_booking     text    not null default 'reject' check (late_booking in ('reject', 'confirm')),
    connection_url   text    not null,
    -- The longest time, gap included, that any reservation has kept this server busy. It bounds the
    -- index scan for overlaps. The guard raises it and never lowers it.
    busy_max_seconds integer not null default 0,
    -- The partition of this server's commands. Commands that arrive through another one have bypassed the
    -- queue that orders decisions, and are refused.
    partition        integer not null check (partition between 0 and 255),
    created_at       timestamptz not null default clock_timestamp()
);

-- Servers on their way to another partition. Workers read the phase:
--   binding    the broker may send a server's commands to both queues; the old partition decides them
--   unbinding  the broker stops sending them to the old queue; the old partition settles nothing of the
--              server any more, and the new one waits for the fence
--   fencing    all commands go to the new queue; workers publish the fence to the tail of the old one
-- The transaction that reads the fence moves the server and deletes the row.
create table moves (
    server_id      text primary key references servers,
    from_partition integer not null,
    to_partition   integer not null,
    fence          uuid not null unique,
    phase          text not null default 'binding' check (phase in ('binding', 'unbinding', 'fencing')),
    started_at     timestamptz not null default clock_timestamp(),
    phase_at       timestamptz not null default clock_timestamp(),
    fenced_at      timestamptz,                 -- when a worker last published the fence
    check (from_partition <> to_partition)
);

create table closures (
    id        bigint generated always as identity primary key,
    server_id text not null references servers,
    start_at  timestamptz not null,
    end_at    timestamptz not null,
    reason    text not null default '',
    check (start_at < end_at and isfinite(start_at) and isfinite(end_at))
);
create index closures_by_server on closures (server_id, end_at);

create table users (
    id            text primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    quota_seconds bigint check (quota_seconds >= 0),   -- null: the policy's default
    holds_max     integer check (holds_max > 0),       -- null: the policy's default
    created_at    timestamptz not null default clock_timestamp(),
    holds         integer not null default 0           -- held reservations; only the guard writes it
) with (fillfactor = 50);  -- holds changes with every batch: leave room in the page

-- Microseconds that a user's live reservations take in each calendar period. Only the guard writes it,
-- under the user's lock: a decision costs the same for one reservation and for a hundred thousand.
create table user_periods (
    user_id      text not null,
    period_start timestamptz not null,
    period_end   timestamptz not null,
    reserved_us  bigint not null,
    primary key (user_id, period_start)
) with (fillfactor = 70);

create table terminals (
    id         text primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    user_id    text not null references users,
    enabled    boolean not null default true,
    created_at timestamptz not null default clock_timestamp()
);

-- The guard checks that terminal, user and server exist, a whole statement at a time. Foreign keys would
-- look up one row at a time and lock terminals that many batches share.
create table reservations (
    id             uuid primary key,
    terminal_id    text not null,
    message_id     text not null,               -- of the request
    user_id        text not null,
    server_id      text not null,
    partition      integer not null,
    start_at       timestamptz not null,
    end_at         timestamptz not null,
    busy_until     timestamptz not null,        -- the end plus the server's gap
    deadline_at    timestamptz not null,
    remind_at      timestamptz,                 -- null: never, or done
    reminded_at    timestamptz,
    state          text not null check (state in ('held', 'reconfirmed', 'confirmed', 'cancelled')),
    cancel_reason  text check (cancel_reason in ('not_reconfirmed', 'withdrawn', 'operator')),
    price_minor    bigint not null check (price_minor >= 0),
    currency       text not null,
    tariff_version integer not null,
    held_at        timestamptz not null,
    reconfirmed_at timestamptz,
    settled_at     timestamptz,
    -- An empty interval would overlap nothing and escape every check.
    check (start_at < end_at and end_at <= busy_until and deadline_at <= start_at),
    check (isfinite(start_at) and isfinite(busy_until) and isfinite(deadline_at)),
    check (remind_at < deadline_at and isfinite(remind_at)),
    check ((state = 'cancelled') = (cancel_reason is not null)),
    check ((state in ('confirmed', 'cancelled')) = (settled_at is not null)),
    check (state <> 'reconfirmed' or reconfirmed_at is not null)
);
-- Overlaps on a server: starts between (window start - busy_max_seconds) and the window's end.
create index reservations_live_by_server on reservations (server_id, start_at) include (busy_until)
    where state <> 'cancelled';
-- What to settle, by deadline.
create index reservations_due on reservations (partition, deadline_at, id)
    where state in ('held', 'reconfirmed');
-- What to remind of, by time.
create index reservations_to_remind on reservations (partition, remind_at, id)
    where state = 'held' and remind_at is not null;
-- Pages of a user's reservations; ids grow with time.
create index reservations_by_user on reservations (user_id, id);

-- One row per decided command. A repeat gets the stored answer, byte for byte.
create table processed_commands (
    terminal_id    text not null,
    message_id     text not null,
    kind           text not null,
    digest         bytea not null,              -- tells a repeat from another command under the same id
    outcome        text not null,               -- 'accepted', 'reconfirmed', 'withdrawn' or the code
    answer_type    text not null,
    answer         text not null,
    server_id      text,
    reservation_id uuid,
    seq            bigint not null,             -- place in the decision order
    decided_at     timestamptz not null,
    primary key (terminal_id, message_id)
);
-- For pruning. Rows arrive in order of time, so a block range index is enough and costs decisions nothing.
create index processed_commands_by_age on processed_commands using brin (decided_at) with (autosummarize = on);

-- The decision order. A batch draws one block under its locks and numbers its decisions inside it.
create sequence decision_block;

-- Append-only: every change of a reservation.
create table history (
    seq            bigint not null,             -- place in the decision order
    reservation_id uuid not null,
    from_state     text,                        -- null: the reservation is new
    to_state       text not null,
    reason         text,
    actor          text not null check (actor in ('terminal', 'operator', 'deadline')),
    actor_id       text,                        -- the terminal or the operator
    trigger        text not null check (trigger in ('command', 'message', 'sweep', 'operator')),
    message_id     text,                        -- of the command
    lateness_ms    bigint,                      -- of a settlement, from the deadline
    server_id      text not null,
    at             timestamptz not null,
    note           text,                        -- the operator's reason, for people
    primary key (reservation_id, seq, to_state)
);

-- Append-only: one charge per confirmed reservation, and at most one credit, which names its charge.
-- Entries outlive their reservations, so the guard checks the reference once, on insert.
create table billing_entries (
    id             uuid primary key,            -- also the id of its event
    kind           text not null check (kind in ('charge', 'credit')),
    reservation_id uuid not null,
    charge_id      uuid references billing_entries,
    user_id        text not null,
    server_id      text not null,
    seconds        bigint not null check (seconds > 0),
    amount_minor   bigint not null check (amount_minor >= 0),
    currency       text not null,
    created_at     timestamptz not null,
    unique (reservation_id, kind),
    check ((kind = 'credit') = (charge_id is not null))
);

-- Events to the world and notices to terminals. Kept, so that an event can be published again with the
-- same id, time and bytes.
create table outbox_messages (
    id          uuid primary key,               -- AMQP message id; of an event also its CloudEvents id
    kind        text not null check (kind in ('event', 'notice')),
    type        text not null,
    routing_key text not null,
    must_route  boolean not null,               -- retried while no queue takes it: billing events
    body        text not null,
    created_at  timestamptz not null
);
create index outbox_messages_by_age on outbox_messages using brin (created_at) with (autosummarize = on);

-- Pointers to messages that are not published yet. The relay publishes them and deletes the pointers.
-- Every batch touches this table and timers, so vacuum them by number of rows, not by share.
create table outbox (
    seq               bigint generated always as identity primary key,
    outbox_message_id uuid not null,            -- no foreign key: pruning spares what is pointed to
    retry_at          timestamptz not null default '-infinity',
    attempts          integer not null default 0
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
create index outbox_ready on outbox (retry_at, seq);

-- Times at which a partition needs a wake-up.
create table timers (
    partition       integer not null,
    due_at          timestamptz not null,
    scheduled_until timestamptz,                -- end of the hop that the broker has confirmed; null: none
    created_at      timestamptz not null default clock_timestamp(),
    primary key (partition, due_at)
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
create index timers_unscheduled on timers (created_at) where scheduled_until is null;

-- The last sweep of each partition, by any replica.
create table sweeps (
    partition integer primary key,
    swept_at  timestamptz not null default '-infinity'
);

-- Live replicas.
create table workers (
    id           uuid primary key,
    host         text not null,
    pid          integer not null,
    started_at   timestamptz not null default clock_timestamp(),
    heartbeat_at timestamptz not null default clock_timestamp(),
    partitions   integer[] not null default '{}'
) with (fillfactor = 50);

-- Attempts at redelivered messages, counted before each attempt, to find the one that crashes workers.
create table delivery_attempts (
    partition   integer not null,
    fingerprint bytea not null,                 -- SHA-256 over sender, message id and body
    attempts    integer not null default 0,
    seen_at     timestamptz not null default clock_timestamp(),
    primary key (partition, fingerprint)
);

-- Database accounts that `holdfast` has made. A migration grants them what it adds.
create table database_roles (
    name       text primary key check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    kind       text not null check (kind in ('worker', 'billing')),
    created_at timestamptz not null default clock_timestamp()
);
