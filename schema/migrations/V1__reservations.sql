-- The whole store. Forward steps only: a later change is a new file.
--
-- Times are timestamptz (UTC instants), money is bigint minor units, intervals are half-open and
-- bounded. "Live" means: takes capacity and counts against the quota (state <> 'cancelled').

-- Policy that is one for all replicas, so that no replica's environment can differ.
create table policy (
    only_row              boolean primary key default true check (only_row),
    quota_period          text    not null default 'month' check (quota_period in ('day', 'week', 'month')),
    quota_zone            text    not null default 'UTC',
    quota_default_seconds bigint  not null default 360000 check (quota_default_seconds >= 0),
    holds_default_max     integer not null default 100 check (holds_default_max > 0),
    -- How long a message id gets its answer again. A reservation outlives the answer that made it.
    answers_kept_seconds  bigint  not null default 2592000 check (answers_kept_seconds >= 86400),
    -- How long after its end a reservation is kept, with what was told about it. Longer than any
    -- period of the quota, in which it counts.
    reservations_kept_seconds bigint not null default 34560000
        check (reservations_kept_seconds >= 3456000 and reservations_kept_seconds >= answers_kept_seconds)
);
insert into policy default values;

-- The broker topology that was applied; workers read it instead of an environment variable.
create table topology (
    only_row     boolean primary key default true check (only_row),
    partitions   integer not null check (partitions between 1 and 256),
    delay_levels integer not null check (delay_levels between 1 and 24),
    applied_at   timestamptz not null default clock_timestamp()
);

create table servers (
    id              text primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    capacity        integer not null check (capacity between 1 and 10000),
    open            boolean not null default true,
    rate_minor      bigint  not null check (rate_minor between 0 and 100000000000),
    currency        text    not null check (currency ~ '^[A-Z]{3}$'),
    tariff_version  integer not null default 1,
    slot_seconds    integer not null default 60 check (slot_seconds between 1 and 86400),
    min_seconds     integer not null default 60 check (min_seconds > 0),
    max_seconds     integer not null default 86400 check (max_seconds between min_seconds and 2678400),
    gap_seconds     integer not null default 0 check (gap_seconds between 0 and 86400),
    lead_seconds    integer not null default 21600 check (lead_seconds between 0 and 31536000),
    -- How long before the deadline a hold's terminal is reminded; 0 = never.
    reminder_seconds integer not null default 3600 check (reminder_seconds between 0 and 31536000),
    horizon_seconds integer not null default 7776000 check (horizon_seconds between 1 and 63072000),
    late_booking    text    not null default 'reject' check (late_booking in ('reject', 'confirm')),
    connection_url  text    not null,
    -- The longest time, gap included, that any reservation has ever kept this server busy. Bounds the
    -- index scan for overlaps; only ever grows, by the guard.
    busy_max_seconds integer not null default 0,
    -- The partition that its commands come through, learnt from the first accepted request. What
    -- arrives elsewhere has been misled around the queue in which it would have to stand in line.
    partition       integer,
    created_at      timestamptz not null default clock_timestamp()
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
    created_at    timestamptz not null default clock_timestamp()
);

create table terminals (
    id         text primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    user_id    text not null references users,
    enabled    boolean not null default true,
    created_at timestamptz not null default clock_timestamp()
);

create table reservations (
    id             uuid primary key,
    terminal_id    text not null references terminals,
    message_id     text not null,
    user_id        text not null references users,
    server_id      text not null references servers,
    partition      integer not null,
    start_at       timestamptz not null,
    end_at         timestamptz not null,
    busy_until     timestamptz not null,
    deadline_at    timestamptz not null,
    remind_at      timestamptz,                 -- null: never, or it was done
    reminded_at    timestamptz,
    state          text not null check (state in ('held', 'reconfirmed', 'confirmed', 'cancelled')),
    cancel_reason  text check (cancel_reason in ('not_reconfirmed', 'withdrawn', 'operator')),
    price_minor    bigint not null check (price_minor >= 0),
    currency       text not null,
    tariff_version integer not null,
    held_at        timestamptz not null,
    reconfirmed_at timestamptz,
    settled_at     timestamptz,
    -- An empty interval would overlap nothing and be invisible to every check.
    check (start_at < end_at and end_at <= busy_until and deadline_at <= start_at),
    check (isfinite(start_at) and isfinite(busy_until) and isfinite(deadline_at)),
    check (remind_at < deadline_at and isfinite(remind_at)),
    check ((state = 'cancelled') = (cancel_reason is not null)),
    check ((state in ('confirmed', 'cancelled')) = (settled_at is not null)),
    check (state <> 'reconfirmed' or reconfirmed_at is not null)
);
-- Overlaps of one server: starts between (window start - busy_max_seconds) and the window's end.
create index reservations_live_by_server on reservations (server_id, start_at) include (busy_until)
    where state <> 'cancelled';
-- Use of one user's periods.
create index reservations_live_by_user on reservations (user_id, end_at) include (start_at)
    where state <> 'cancelled';
-- Holds per user.
create index reservations_held_by_user on reservations (user_id) where state = 'held';
-- What is to be settled, in order of deadline.
create index reservations_due on reservations (partition, deadline_at, id)
    where state in ('held', 'reconfirmed');
-- Who is to be reminded, in order of time.
create index reservations_to_remind on reservations (partition, remind_at, id)
    where state = 'held' and remind_at is not null;
-- Pages of a user's reservations; ids grow with time.
create index reservations_by_user on reservations (user_id, id);

-- One row per decided command: the answer is kept byte for byte and sent again on a repeat.
create table processed_commands (
    terminal_id    text not null,
    message_id     text not null,
    kind           text not null,
    digest         bytea not null,
    outcome        text not null,               -- 'accepted', 'reconfirmed', 'withdrawn' or the code
    answer_type    text not null,
    answer         text not null,
    server_id      text,
    reservation_id uuid,
    seq            bigint not null,             -- place in the decision order
    decided_at     timestamptz not null,
    primary key (terminal_id, message_id)
);
-- For pruning. Rows come in order of time, so a block range index will do: it costs decisions nothing.
create index processed_commands_by_age on processed_commands using brin (decided_at) with (autosummarize = on);

-- Places in the decision order, given out in blocks: a batch draws one block under its locks and
-- numbers its decisions inside it.
create sequence decision_block;

-- Append-only: who or what changed a reservation, when, why and how late.
create table history (
    seq            bigint not null,             -- place in the decision order
    reservation_id uuid not null,
    from_state     text,
    to_state       text not null,
    reason         text,
    actor          text not null check (actor in ('terminal', 'operator', 'deadline')),
    actor_id       text,                        -- the terminal or the operator
    trigger        text not null check (trigger in ('command', 'message', 'sweep', 'operator')),
    message_id     text,                        -- of the command
    lateness_ms    bigint,                      -- of a settlement, from the deadline
    server_id      text not null,
    at             timestamptz not null,
    note           text,                        -- why, in an operator's words
    primary key (reservation_id, seq, to_state)
);

-- Append-only: one charge per confirmed reservation, one credit at most, which names its charge. Kept
-- for longer than the reservations, so it does not refer to them; the guard looks at a new entry's.
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

-- What is told to others: events to the world, notices to a terminal. Kept, so that an event can be
-- replayed with the same id, time and bytes.
create table outbox_messages (
    id          uuid primary key,               -- message id; of an event also its CloudEvents id
    kind        text not null check (kind in ('event', 'notice')),
    type        text not null,
    routing_key text not null,
    must_route  boolean not null,               -- a billing event without a queue is retried
    body        text not null,
    created_at  timestamptz not null
);
create index outbox_messages_by_age on outbox_messages using brin (created_at) with (autosummarize = on);

-- Pointers to what has yet to be announced; the relay publishes and deletes them.
create table outbox (
    seq             bigint generated always as identity primary key,
    message_id uuid not null,              -- pruning leaves what is pointed to
    retry_at        timestamptz not null default '-infinity',
    attempts        integer not null default 0
);
create index outbox_ready on outbox (retry_at, seq);

-- Instants that need a wake-up. scheduled_until is null until the broker has confirmed one.
create table timers (
    partition   integer not null,
    due_at      timestamptz not null,
    scheduled_until timestamptz,
    created_at  timestamptz not null default clock_timestamp(),
    primary key (partition, due_at)
);
create index timers_unscheduled on timers (created_at) where scheduled_until is null;

-- When each partition was last swept, by whichever replica.
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
);

-- Messages that a worker may have crashed on, counted before each lone attempt.
create table delivery_attempts (
    partition  integer not null,
    fingerprint bytea not null,                 -- SHA-256 over sender, message id and body
    attempts   integer not null default 0,
    seen_at    timestamptz not null default clock_timestamp(),
    primary key (partition, fingerprint)
);

-- Hot small tables: keep them tidy, since every batch touches them.
alter table outbox set (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
alter table timers set (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
alter table workers set (fillfactor = 50);
