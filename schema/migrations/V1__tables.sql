-- All tables. Migrations only go forward: a later change is a new file.
--
-- Times are timestamptz (UTC), money is bigint minor units, intervals are half-open and bounded.
-- A reservation is live unless it is cancelled: it takes capacity and counts against the quota.
-- Every number has a CHECK with the bound of its quantity (`src/domain/bounds.rs`): within them no
-- statement overflows.
-- Text that identifies something compares bytewise (collate "C"): the operating system's collations change,
-- and an index that follows an old one lets the same key in twice.

-- Names of generations. None is used twice, so that leftovers of one never count in another.
create sequence quota_generation;

-- Settings that all replicas share, so that no replica's environment can differ.
create table policy (
    only_row                  boolean primary key default true check (only_row),
    quota_period              text collate "C" not null default 'month' check (quota_period in ('day', 'week', 'month')),
    quota_zone                text collate "C" not null default 'UTC',
    quota_default_seconds     bigint  not null default 360000
        check (quota_default_seconds between 0 and 1000000000000),
    holds_default_max         integer not null default 100
        check (holds_default_max between 1 and 1000000),
    -- How long a repeated message id gets its stored answer. Reservations are kept for longer than the
    -- answers that name them.
    answers_kept_seconds      bigint  not null default 2592000
        check (answers_kept_seconds between 86400 and 3153600000),
    -- How long a reservation and its messages are kept after its end: at least 40 days, more than the
    -- longest quota period that it counts in.
    reservations_kept_seconds bigint  not null default 34560000
        check (reservations_kept_seconds between 3456000 and 3153600000),
    check (reservations_kept_seconds >= answers_kept_seconds),
    -- Most commands per second and partition from one terminal; null: no limit.
    terminal_rate_max         integer check (terminal_rate_max between 1 and 1000000),
    -- Most queries per second and worker from one terminal; null: no limit.
    query_rate_max            integer check (query_rate_max between 1 and 1000000),
    -- The generation in force: the rows of quota_bounds and user_periods that count by this period and zone.
    generation                bigint  not null default nextval('quota_generation')
);
insert into policy default values;

-- What deletion and quota periods go by, instead of one reading of a clock or of the zone rules.
create table timekeeping (
    only_row       boolean primary key default true check (only_row),
    -- Retention's own clock. It follows the database's at no more than twice the pace of time.
    believed_at    timestamptz not null default clock_timestamp(),
    read_at        timestamptz not null default clock_timestamp(),  -- the database's clock at the last step
    -- Measured time for which the database's clock has been behind this one.
    behind_seconds double precision not null default 0,
    -- All quota periods that touch this time have their bounds stored, in each generation that is kept.
    bounds_from    timestamptz not null default 'infinity',
    bounds_until   timestamptz not null default '-infinity'
);
insert into timekeeping default values;

-- When quota periods begin, by the zone rules of the session that stored it first. All others go by it, so
-- that no two sessions count one instant in two periods.
create table quota_bounds (
    generation  bigint not null,
    local_start timestamp not null,             -- in the generation's zone
    starts_at   timestamptz not null,
    primary key (generation, local_start)
);

-- The count of all use anew that is under way, if any: a generation that is not in force yet. Users are counted
-- in order of their ids; '' sorts before every id, '~' after. See
-- `docs/decisions/0035-use-is-counted-anew-in-steps.md`.
create table recounts (
    only_row      boolean primary key default true check (only_row),
    generation    bigint not null default nextval('quota_generation'),
    quota_period  text collate "C" not null check (quota_period in ('day', 'week', 'month')),
    quota_zone    text collate "C" not null,
    -- The guard keeps the use of this generation, too, of all users up to this one.
    marked_until  text collate "C" not null default '',
    -- Of all users up to this one, what was reserved before is counted as well.
    counted_until text collate "C" not null default '',
    -- Pages marked so far. A session that finds another number than its own has been replaced.
    marks         bigint not null default 0,
    started_at    timestamptz not null default clock_timestamp(),
    operator      text collate "C" not null
        default coalesce(nullif(current_setting('holdfast.operator', true), ''), session_user),
    check (counted_until <= marked_until)
);

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
    name       text collate "C" primary key,
    added_at   timestamptz not null default clock_timestamp(),
    used_at    timestamptz not null default clock_timestamp(),  -- when a worker last started with it
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
    id               text collate "C" primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    capacity         integer not null check (capacity between 1 and 10000),
    open             boolean not null default true,
    rate_minor       bigint  not null check (rate_minor between 0 and 100000000000),  -- per hour
    currency         text collate "C" not null check (currency ~ '^[A-Z]{3}$'),
    tariff_version   integer not null default 1 check (tariff_version >= 1),
    slot_seconds     integer not null default 60 check (slot_seconds between 1 and 86400),
    min_seconds      integer not null default 60 check (min_seconds between 1 and 2678400),
    max_seconds      integer not null default 86400 check (max_seconds between 1 and 2678400),
    gap_seconds      integer not null default 0 check (gap_seconds between 0 and 86400),
    lead_seconds     integer not null default 21600 check (lead_seconds between 0 and 31536000),
    -- How long before the deadline a held reservation's terminal is reminded; 0: never.
    reminder_seconds integer not null default 3600 check (reminder_seconds between 0 and 31536000),
    horizon_seconds  integer not null default 7776000 check (horizon_seconds between 1 and 63072000),
    late_booking     text collate "C" not null default 'reject' check (late_booking in ('reject', 'confirm')),
    -- Where confirmed reservations are served. `{key}` in it stands for the reservation's access key, and
    -- `{reservation}` for its id. No longer than a browser's address line takes.
    connection_url   text    not null check (octet_length(connection_url) between 1 and 2048),
    -- Where others watch; it names no key.
    view_url         text check (octet_length(view_url) between 1 and 2048 and position('{key}' in view_url) = 0),
    -- Most viewers of one reservation at a time; null: no limit.
    viewers_max      integer check (viewers_max between 1 and 1000000),
    -- How long before its start a reservation is admitted if its place is free.
    early_seconds    integer not null default 0 check (early_seconds between 0 and 86400),
    -- The longest time, gap included, that any reservation has kept this server busy. It bounds the
    -- index scan for overlaps. The guard raises it and never lowers it.
    busy_max_seconds integer not null default 0 check (busy_max_seconds between 0 and 2764800),
    -- The partition of this server's commands. Commands that arrive through another one have bypassed the
    -- queue that orders decisions, and are refused.
    partition        integer not null check (partition between 0 and 255),
    created_at       timestamptz not null default clock_timestamp(),
    check (min_seconds <= max_seconds)
);

-- Append-only: the rate of each tariff version that bills name. Only the guard writes it.
create table tariffs (
    server_id  text collate "C" not null,
    version    integer not null check (version >= 1),
    rate_minor bigint not null check (rate_minor between 0 and 100000000000),  -- per hour
    currency   text collate "C" not null,
    from_at    timestamptz not null,
    primary key (server_id, version)
);

-- Servers on their way to another partition. Workers read the phase:
--   binding    the broker may send a server's commands to both queues; the old partition decides them
--   unbinding  the broker stops sending them to the old queue; the old partition settles nothing of the
--              server any more, and the new one waits for the fence
--   fencing    all commands go to the new queue; workers publish the fence to the tail of the old one
-- The transaction that reads the fence moves the server and deletes the row.
create table moves (
    server_id      text collate "C" primary key references servers,
    from_partition integer not null check (from_partition between 0 and 255),
    to_partition   integer not null check (to_partition between 0 and 255),
    fence          uuid not null unique,
    phase          text collate "C" not null default 'binding' check (phase in ('binding', 'unbinding', 'fencing')),
    started_at     timestamptz not null default clock_timestamp(),
    phase_at       timestamptz not null default clock_timestamp(),
    fenced_at      timestamptz,                 -- when a worker last published the fence
    check (from_partition <> to_partition)
);

create table closures (
    id        bigint generated always as identity primary key,
    server_id text collate "C" not null references servers,
    start_at  timestamptz not null,
    end_at    timestamptz not null,
    reason    text not null default '',
    check (start_at < end_at and start_at >= '1970-01-01T00:00:00Z' and end_at <= '9999-12-31T23:59:59Z')
);
create index closures_by_server on closures (server_id, end_at);

create table users (
    id            text collate "C" primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    -- Null: the policy's default.
    quota_seconds bigint check (quota_seconds between 0 and 1000000000000),
    holds_max     integer check (holds_max between 1 and 1000000),
    created_at    timestamptz not null default clock_timestamp(),
    holds         integer not null default 0           -- held reservations; only the guard writes it
) with (fillfactor = 50);  -- holds changes with every batch: leave room in the page

-- Microseconds that a user's live reservations take in each calendar period. Only the guard writes it,
-- under the user's lock: a decision costs the same for one reservation and for a hundred thousand.
create table user_periods (
    generation   bigint not null,
    user_id      text collate "C" not null,
    period_start timestamptz not null,
    period_end   timestamptz not null,
    reserved_us  bigint not null,
    primary key (generation, user_id, period_start)
) with (fillfactor = 70);

create table terminals (
    id         text collate "C" primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    user_id    text collate "C" not null references users,
    enabled    boolean not null default true,
    created_at timestamptz not null default clock_timestamp()
);

-- The guard checks that terminal, user and server exist, a whole statement at a time. Foreign keys would
-- look up one row at a time and lock terminals that many batches share.
create table reservations (
    id             uuid primary key,
    terminal_id    text collate "C" not null,
    message_id     text collate "C" not null,               -- of the request
    user_id        text collate "C" not null,
    server_id      text collate "C" not null,
    partition      integer not null check (partition between 0 and 255),
    start_at       timestamptz not null,
    end_at         timestamptz not null,
    busy_until     timestamptz not null,        -- the end plus the server's gap
    deadline_at    timestamptz not null,
    remind_at      timestamptz,                 -- null: never, or done
    reminded_at    timestamptz,
    state          text collate "C" not null check (state in ('held', 'reconfirmed', 'confirmed', 'cancelled')),
    cancel_reason  text collate "C" check (cancel_reason in ('not_reconfirmed', 'withdrawn', 'operator')),
    price_minor    bigint not null check (price_minor between 0 and 74400000000000),
    currency       text collate "C" not null,
    tariff_version integer not null,
    held_at        timestamptz not null,
    reconfirmed_at timestamptz,
    settled_at     timestamptz,
    -- W3C trace context of the latest command that brought one: what follows from it belongs there.
    traceparent    text collate "C" check (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'),
    tracestate     text collate "C" check (octet_length(tracestate) between 1 and 512),
    -- An empty interval would overlap nothing and escape every check.
    check (start_at < end_at and end_at <= busy_until and deadline_at <= start_at),
    check (end_at <= start_at + interval '744 hours' and busy_until <= end_at + interval '24 hours'),
    check (deadline_at >= '1970-01-01T00:00:00Z' and busy_until <= '9999-12-31T23:59:59Z'),
    check (remind_at < deadline_at and remind_at >= '1970-01-01T00:00:00Z'),
    check ((state = 'cancelled') = (cancel_reason is not null)),
    check ((state in ('confirmed', 'cancelled')) = (settled_at is not null)),
    check (state <> 'reconfirmed' or reconfirmed_at is not null)
);
-- Overlaps on a server: starts between (window start - busy_max_seconds) and the window's end.
create index reservations_live_by_server on reservations (server_id, start_at) include (busy_until)
    where state <> 'cancelled';
-- The same of cancelled ones, for operators' lists. A cancellation writes it, and leaves the index of live ones.
create index reservations_cancelled_by_server on reservations (server_id, start_at) where state = 'cancelled';
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
    terminal_id    text collate "C" not null,
    message_id     text collate "C" not null,
    kind           text collate "C" not null,
    digest         bytea not null,              -- tells a repeat from another command under the same id
    outcome        text collate "C" not null,               -- 'accepted', 'reconfirmed', 'withdrawn' or the code
    answer_type    text collate "C" not null,
    answer         text not null,
    server_id      text collate "C",
    reservation_id uuid,
    seq            bigint not null,             -- place in the decision order
    decided_at     timestamptz not null,
    primary key (terminal_id, message_id)
);
-- For pruning. Rows arrive in order of time, so a block range index is enough and costs decisions nothing.
create index processed_commands_by_age on processed_commands using brin (decided_at) with (autosummarize = on);

-- The decision order. A batch draws one block under its locks and numbers its decisions inside it.
create sequence decision_block;

-- Append-only: every change of a reservation. A line from 'confirmed' to 'confirmed' says what happened to a
-- confirmed one: `key_rotated`, or what became of its time: `used`, `no_show` or `unobserved`.
create table history (
    seq            bigint not null,             -- place in the decision order
    reservation_id uuid not null,
    from_state     text collate "C",                        -- null: the reservation is new
    to_state       text collate "C" not null,
    reason         text,
    -- 'end': the end of the reserved time, when its use is recorded.
    actor          text collate "C" not null check (actor in ('terminal', 'operator', 'deadline', 'end')),
    actor_id       text collate "C",                        -- the terminal or the operator
    trigger        text collate "C" not null check (trigger in ('command', 'message', 'sweep', 'operator')),
    message_id     text collate "C",                        -- of the command
    lateness_ms    bigint,                      -- of a settlement, from the deadline
    server_id      text collate "C" not null,
    at             timestamptz not null,
    note           text,                        -- the operator's reason, for people
    -- W3C trace context: the command's, or that of the command which led to a settlement.
    traceparent    text collate "C" check (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'),
    primary key (reservation_id, seq, to_state)
);

-- Append-only: one charge per confirmed reservation, and at most one credit, which names its charge.
-- Entries outlive their reservations, so the guard checks the reference once, on insert.
create table billing_entries (
    id             uuid primary key,            -- also the id of its event
    kind           text collate "C" not null check (kind in ('charge', 'credit')),
    reservation_id uuid not null,
    charge_id      uuid references billing_entries,
    user_id        text collate "C" not null,
    server_id      text collate "C" not null,
    seconds        bigint not null check (seconds between 1 and 2678400),
    amount_minor   bigint not null check (amount_minor between 0 and 74400000000000),
    currency       text collate "C" not null,
    tariff_version integer not null check (tariff_version >= 1),  -- of its server, in `tariffs`
    created_at     timestamptz not null,
    unique (reservation_id, kind),
    check ((kind = 'credit') = (charge_id is not null))
);
-- Pages of the ledger. Entries arrive in order of time, so the index grows at its end only.
create index billing_entries_by_time on billing_entries (created_at, id);

-- Events to the world and notices to terminals. Kept, so that an event can be published again with the
-- same id, time and bytes.
create table outbox_messages (
    id          uuid primary key,               -- AMQP message id; of an event also its CloudEvents id
    kind        text collate "C" not null check (kind in ('event', 'notice')),
    type        text collate "C" not null,
    routing_key text collate "C" not null,
    must_route  boolean not null,               -- a billing event: retried until the billing queue has it
    body        text not null,
    created_at  timestamptz not null,
    -- W3C trace context, sent as headers.
    traceparent text collate "C" check (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'),
    tracestate  text collate "C" check (octet_length(tracestate) between 1 and 512)
);
create index outbox_messages_by_age on outbox_messages using brin (created_at) with (autosummarize = on);

-- Pointers to messages that are not published yet. Relays publish them and delete the pointers. A billing
-- event has two: its way to the biller does not depend on other subscribers.
-- Every batch touches this table and timers, so vacuum them by number of rows, not by share.
create table outbox (
    seq               bigint generated always as identity primary key,
    outbox_message_id uuid not null,            -- no foreign key: pruning spares what is pointed to
    is_copy           boolean not null default false,  -- for the exchange of all events, tried a few times
    retry_at          timestamptz not null default '-infinity',
    attempts          integer not null default 0
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
create index outbox_ready on outbox (retry_at, seq) where not is_copy;
create index outbox_copies on outbox (retry_at, seq) where is_copy;

-- Times at which a partition needs a wake-up.
create table timers (
    partition       integer not null,
    due_at          timestamptz not null,
    scheduled_until timestamptz,                -- end of the hop that the broker has confirmed; null: none
    created_at      timestamptz not null default clock_timestamp(),
    primary key (partition, due_at)
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
create index timers_unscheduled on timers (created_at) where scheduled_until is null;

-- Partitions whose deciding operators have paused: their queues have no consumer until the row is gone.
create table pauses (
    scope     text collate "C" primary key check (scope = 'all' or scope ~ '^(0|[1-9][0-9]{0,2})$'),  -- or a partition
    why       text not null default '',
    paused_at timestamptz not null default clock_timestamp()
);

-- The last sweep of each partition, by any replica.
create table sweeps (
    partition integer primary key,
    swept_at  timestamptz not null default '-infinity'
);

-- Secrets of which access keys are derived. Workers have them, the database only tells whether all have the
-- same one under an id.
create table access_secrets (
    id            text collate "C" primary key check (id ~ '^[a-z0-9-]{1,32}$'),
    fingerprint   bytea not null check (octet_length(fingerprint) = 32),
    first_seen_at timestamptz not null default clock_timestamp()
);

-- The access key of each reservation that was confirmed while workers had a secret. A row is written with the
-- confirmation and goes with the reservation. The key itself is never stored.
create table access (
    reservation_id uuid primary key references reservations on delete cascade,
    server_id      text collate "C" not null,   -- the reservation's, for gates that ask what has changed
    epoch          integer not null check (epoch between 1 and 1000000),  -- a rotation adds 1
    -- The secret that the key is derived of; null: rotated, and a worker has yet to derive it.
    secret_id      text collate "C",
    -- SHA-256 of the key's text. As long as `secret_id` is null, of nothing.
    key_hash       bytea not null unique check (octet_length(key_hash) = 32),
    changed_at     timestamptz not null,        -- also when the reservation was cancelled or moved
    close_at       timestamptz                  -- when to record the use; null: done, or cancelled
);
create index access_changes on access (server_id, changed_at);
create index access_to_close on access (close_at) where close_at is not null;

-- What gates saw: each session in which a reservation's key was used to publish, by the name that its server
-- has for it. Gates write it.
create table access_use (
    reservation_id uuid not null references reservations on delete cascade,
    gate           text collate "C" not null check (octet_length(gate) between 1 and 64),
    session        text collate "C" not null check (octet_length(session) between 1 and 128),
    first_at       timestamptz not null,
    last_at        timestamptz not null,
    seconds        integer not null check (seconds between 0 and 2678400),  -- within the reserved time
    ended          text collate "C" check (octet_length(ended) between 1 and 64),  -- how, in a word; null: it lasts
    primary key (reservation_id, gate, session),
    check (first_at <= last_at)
);

-- When which gate watched which server, without a break. Gates write it.
create table gate_coverage (
    server_id text collate "C" not null references servers on delete cascade,
    gate      text collate "C" not null check (octet_length(gate) between 1 and 64),
    from_at   timestamptz not null,
    until_at  timestamptz not null,
    primary key (server_id, gate, from_at),
    check (from_at <= until_at)
);

-- Live replicas.
create table workers (
    id           uuid primary key,
    host         text not null,
    pid          integer not null,
    started_at   timestamptz not null default clock_timestamp(),
    heartbeat_at timestamptz not null default clock_timestamp(),
    partitions   integer[] not null default '{}',
    version      text not null default '',
    -- Messages whose outcome this replica has committed since it started, and how many per second lately.
    decided      bigint not null default 0,
    decided_per_second double precision not null default 0,
    -- Its own clock less the database's, which decides; for operators.
    clock_ahead_seconds double precision not null default 0,
    http_address text                           -- of /live, /ready and /metrics; null: none
) with (fillfactor = 50);

-- Attempts at redelivered messages, counted before each attempt, to find the one that crashes workers.
create table delivery_attempts (
    partition   integer not null,
    fingerprint bytea not null,                 -- SHA-256 over sender, message id and body
    attempts    integer not null default 0,
    seen_at     timestamptz not null default clock_timestamp(),
    primary key (partition, fingerprint)
);

-- Dead letters that operators' commands have taken from the broker's queue, where looking at one hides it
-- from others and puts it out of order. Workers decide one once more if the account that asked for it names it.
create table dead_letters (
    id               uuid primary key,          -- the same message is the same letter
    reason           text collate "C" not null,
    exact            boolean not null,          -- as a worker received it, and whole
    partition        integer,                   -- whose queue it came from
    account          text collate "C",          -- of its sender, validated by the broker
    routing_key      text collate "C" not null,
    message_id       text collate "C",
    type             text,
    content_type     text,
    content_encoding text,
    forbidden        text,                      -- a header or property for which it is refused
    traceparent      text,
    tracestate       text,
    body             bytea not null,
    died_at          timestamptz not null,
    times            integer not null default 1, -- how often it was filed
    state            text collate "C" not null default 'open' check (state in ('open', 'replaying', 'replayed', 'discarded')),
    attempts         integer not null default 0, -- replays
    replay_account   text collate "C",          -- the broker account that asked for the last one
    closed_at        timestamptz,               -- when it was replayed or discarded
    check ((state in ('replayed', 'discarded')) = (closed_at is not null))
);
create index dead_letters_by_time on dead_letters (died_at, id);
create index dead_letters_open on dead_letters (died_at, id) where state in ('open', 'replaying');

-- Append-only: who changed what is set up. Triggers write it, and commands that change no table. A server's closures are listed under
-- the server. The service's own writes (use, holds, moves that end) are no changes.
create table audit (
    id            bigint generated always as identity primary key,
    at            timestamptz not null default clock_timestamp(),
    operator      text collate "C" not null,                -- as the session says, or the role
    database_role text collate "C" not null,
    kind          text collate "C" not null check (kind in ('server', 'server_closure', 'user', 'terminal', 'policy', 'topology',
        'pause', 'dead_letter', 'events', 'account', 'installation')),
    object_id     text collate "C" not null,
    action        text collate "C" not null check (action in ('add', 'set', 'move', 'remove', 'replay', 'discard', 'rotate')),
    before        jsonb,                        -- of 'set': only what differs
    after         jsonb,
    why           text                          -- as the operator said
);
create index audit_by_object on audit (kind, object_id, id);

-- Database accounts that `holdfast` has made. A migration grants them what it adds.
create table database_roles (
    name       text collate "C" primary key check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    kind       text collate "C" not null check (kind in ('worker', 'billing', 'monitor', 'gate')),
    created_at timestamptz not null default clock_timestamp()
);
