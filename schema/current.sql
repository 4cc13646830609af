-- The schema that all files of schema/migrations together make, read from a migrated database. It is for
-- reading and reviewing; `holdfast migrate` does not use it. A test compares it, and writes it when run so:
--
--     HOLDFAST_BLESS=1 ./dev test -- the_current_schema_is_checked_in

CREATE SEQUENCE decision_block;

CREATE SEQUENCE quota_generation;

CREATE TABLE access (
    reservation_id uuid NOT NULL,
    server_id text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    secret_id text COLLATE "C",
    key_hash bytea NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    close_at timestamp with time zone,
    CONSTRAINT access_pkey PRIMARY KEY (reservation_id),
    CONSTRAINT access_key_hash_key UNIQUE (key_hash),
    CONSTRAINT access_epoch_check CHECK (epoch >= 1 AND epoch <= 1000000),
    CONSTRAINT access_key_hash_check CHECK (octet_length(key_hash) = 32)
);
CREATE INDEX access_changes ON access USING btree (server_id, changed_at);
CREATE INDEX access_to_close ON access USING btree (close_at) WHERE close_at IS NOT NULL;

CREATE TABLE access_secrets (
    id text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    first_seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT access_secrets_pkey PRIMARY KEY (id),
    CONSTRAINT access_secrets_fingerprint_check CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT access_secrets_id_check CHECK (id ~ '^[a-z0-9-]{1,32}$'::text)
);

CREATE TABLE access_use (
    reservation_id uuid NOT NULL,
    gate text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    seconds integer NOT NULL,
    ended text COLLATE "C",
    CONSTRAINT access_use_pkey PRIMARY KEY (reservation_id, gate, session),
    CONSTRAINT access_use_check CHECK (first_at <= last_at),
    CONSTRAINT access_use_ended_check CHECK (octet_length(ended) >= 1 AND octet_length(ended) <= 64),
    CONSTRAINT access_use_gate_check CHECK (octet_length(gate) >= 1 AND octet_length(gate) <= 64),
    CONSTRAINT access_use_seconds_check CHECK (seconds >= 0 AND seconds <= 2678400),
    CONSTRAINT access_use_session_check CHECK (octet_length(session) >= 1 AND octet_length(session) <= 128)
);

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    operator text COLLATE "C" NOT NULL,
    database_role text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    object_id text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    before jsonb,
    after jsonb,
    why text,
    CONSTRAINT audit_pkey PRIMARY KEY (id),
    CONSTRAINT audit_action_check CHECK (action = ANY (ARRAY['add'::text, 'set'::text, 'move'::text, 'remove'::text, 'replay'::text, 'discard'::text, 'rotate'::text])),
    CONSTRAINT audit_kind_check CHECK (kind = ANY (ARRAY['server'::text, 'server_closure'::text, 'user'::text, 'terminal'::text, 'policy'::text, 'topology'::text, 'pause'::text, 'dead_letter'::text, 'events'::text, 'account'::text, 'installation'::text]))
);
CREATE INDEX audit_by_object ON audit USING btree (kind, object_id, id);

CREATE TABLE billing_entries (
    id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    reservation_id uuid NOT NULL,
    charge_id uuid,
    user_id text COLLATE "C" NOT NULL,
    server_id text COLLATE "C" NOT NULL,
    seconds bigint NOT NULL,
    amount_minor bigint NOT NULL,
    currency text COLLATE "C" NOT NULL,
    tariff_version integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT billing_entries_pkey PRIMARY KEY (id),
    CONSTRAINT billing_entries_reservation_id_kind_key UNIQUE (reservation_id, kind),
    CONSTRAINT billing_entries_amount_minor_check CHECK (amount_minor >= 0 AND amount_minor <= '74400000000000'::bigint),
    CONSTRAINT billing_entries_check CHECK ((kind = 'credit'::text) = (charge_id IS NOT NULL)),
    CONSTRAINT billing_entries_kind_check CHECK (kind = ANY (ARRAY['charge'::text, 'credit'::text])),
    CONSTRAINT billing_entries_seconds_check CHECK (seconds >= 1 AND seconds <= 2678400),
    CONSTRAINT billing_entries_tariff_version_check CHECK (tariff_version >= 1)
);
CREATE INDEX billing_entries_by_time ON billing_entries USING btree (created_at, id);

CREATE TABLE closures (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    server_id text COLLATE "C" NOT NULL,
    start_at timestamp with time zone NOT NULL,
    end_at timestamp with time zone NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    CONSTRAINT closures_pkey PRIMARY KEY (id),
    CONSTRAINT closures_check CHECK (start_at < end_at AND start_at >= '1970-01-01 00:00:00+00'::timestamp with time zone AND end_at <= '9999-12-31 23:59:59+00'::timestamp with time zone)
);
CREATE INDEX closures_by_server ON closures USING btree (server_id, end_at);

CREATE TABLE database_roles (
    name text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT database_roles_pkey PRIMARY KEY (name),
    CONSTRAINT database_roles_kind_check CHECK (kind = ANY (ARRAY['worker'::text, 'billing'::text, 'monitor'::text, 'gate'::text])),
    CONSTRAINT database_roles_name_check CHECK (name ~ '^[a-z][a-z0-9_]{0,62}$'::text)
);

CREATE TABLE dead_letters (
    id uuid NOT NULL,
    reason text COLLATE "C" NOT NULL,
    exact boolean NOT NULL,
    partition integer,
    account text COLLATE "C",
    routing_key text COLLATE "C" NOT NULL,
    message_id text COLLATE "C",
    type text,
    content_type text,
    content_encoding text,
    forbidden text,
    traceparent text,
    tracestate text,
    body bytea NOT NULL,
    died_at timestamp with time zone NOT NULL,
    times integer DEFAULT 1 NOT NULL,
    state text COLLATE "C" DEFAULT 'open'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    replay_account text COLLATE "C",
    closed_at timestamp with time zone,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (id),
    CONSTRAINT dead_letters_check CHECK ((state = ANY (ARRAY['replayed'::text, 'discarded'::text])) = (closed_at IS NOT NULL)),
    CONSTRAINT dead_letters_state_check CHECK (state = ANY (ARRAY['open'::text, 'replaying'::text, 'replayed'::text, 'discarded'::text]))
);
CREATE INDEX dead_letters_by_time ON dead_letters USING btree (died_at, id);
CREATE INDEX dead_letters_open ON dead_letters USING btree (died_at, id) WHERE state = ANY (ARRAY['open'::text, 'replaying'::text]);

CREATE TABLE delivery_attempts (
    partition integer NOT NULL,
    fingerprint bytea NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT delivery_attempts_pkey PRIMARY KEY (partition, fingerprint)
);

CREATE TABLE gate_coverage (
    server_id text COLLATE "C" NOT NULL,
    gate text COLLATE "C" NOT NULL,
    from_at timestamp with time zone NOT NULL,
    until_at timestamp with time zone NOT NULL,
    CONSTRAINT gate_coverage_pkey PRIMARY KEY (server_id, gate, from_at),
    CONSTRAINT gate_coverage_check CHECK (from_at <= until_at),
    CONSTRAINT gate_coverage_gate_check CHECK (octet_length(gate) >= 1 AND octet_length(gate) <= 64)
);

CREATE TABLE history (
    seq bigint NOT NULL,
    reservation_id uuid NOT NULL,
    from_state text COLLATE "C",
    to_state text COLLATE "C" NOT NULL,
    reason text,
    actor text COLLATE "C" NOT NULL,
    actor_id text COLLATE "C",
    trigger text COLLATE "C" NOT NULL,
    message_id text COLLATE "C",
    lateness_ms bigint,
    server_id text COLLATE "C" NOT NULL,
    at timestamp with time zone NOT NULL,
    note text,
    traceparent text COLLATE "C",
    CONSTRAINT history_pkey PRIMARY KEY (reservation_id, seq, to_state),
    CONSTRAINT history_actor_check CHECK (actor = ANY (ARRAY['terminal'::text, 'operator'::text, 'deadline'::text, 'end'::text])),
    CONSTRAINT history_traceparent_check CHECK (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'::text),
    CONSTRAINT history_trigger_check CHECK (trigger = ANY (ARRAY['command'::text, 'message'::text, 'sweep'::text, 'operator'::text]))
);

CREATE TABLE installation (
    only_row boolean DEFAULT true NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT installation_pkey PRIMARY KEY (only_row),
    CONSTRAINT installation_only_row_check CHECK (only_row)
);

CREATE TABLE moves (
    server_id text COLLATE "C" NOT NULL,
    from_partition integer NOT NULL,
    to_partition integer NOT NULL,
    fence uuid NOT NULL,
    phase text COLLATE "C" DEFAULT 'binding'::text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    phase_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    fenced_at timestamp with time zone,
    CONSTRAINT moves_pkey PRIMARY KEY (server_id),
    CONSTRAINT moves_fence_key UNIQUE (fence),
    CONSTRAINT moves_check CHECK (from_partition <> to_partition),
    CONSTRAINT moves_from_partition_check CHECK (from_partition >= 0 AND from_partition <= 255),
    CONSTRAINT moves_phase_check CHECK (phase = ANY (ARRAY['binding'::text, 'unbinding'::text, 'fencing'::text])),
    CONSTRAINT moves_to_partition_check CHECK (to_partition >= 0 AND to_partition <= 255)
);

CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    outbox_message_id uuid NOT NULL,
    is_copy boolean DEFAULT false NOT NULL,
    retry_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (seq)
) WITH (autovacuum_vacuum_scale_factor=0.0, autovacuum_vacuum_threshold=5000);
CREATE INDEX outbox_copies ON outbox USING btree (retry_at, seq) WHERE is_copy;
CREATE INDEX outbox_ready ON outbox USING btree (retry_at, seq) WHERE NOT is_copy;

CREATE TABLE outbox_messages (
    id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    routing_key text COLLATE "C" NOT NULL,
    must_route boolean NOT NULL,
    body text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    traceparent text COLLATE "C",
    tracestate text COLLATE "C",
    CONSTRAINT outbox_messages_pkey PRIMARY KEY (id),
    CONSTRAINT outbox_messages_kind_check CHECK (kind = ANY (ARRAY['event'::text, 'notice'::text])),
    CONSTRAINT outbox_messages_traceparent_check CHECK (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'::text),
    CONSTRAINT outbox_messages_tracestate_check CHECK (octet_length(tracestate) >= 1 AND octet_length(tracestate) <= 512)
);
CREATE INDEX outbox_messages_by_age ON outbox_messages USING brin (created_at) WITH (autosummarize='on');

CREATE TABLE pauses (
    scope text COLLATE "C" NOT NULL,
    why text DEFAULT ''::text NOT NULL,
    paused_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pauses_pkey PRIMARY KEY (scope),
    CONSTRAINT pauses_scope_check CHECK (scope = 'all'::text OR scope ~ '^(0|[1-9][0-9]{0,2})$'::text)
);

CREATE TABLE policy (
    only_row boolean DEFAULT true NOT NULL,
    quota_period text COLLATE "C" DEFAULT 'month'::text NOT NULL,
    quota_zone text COLLATE "C" DEFAULT 'UTC'::text NOT NULL,
    quota_default_seconds bigint DEFAULT 360000 NOT NULL,
    holds_default_max integer DEFAULT 100 NOT NULL,
    answers_kept_seconds bigint DEFAULT 2592000 NOT NULL,
    reservations_kept_seconds bigint DEFAULT 34560000 NOT NULL,
    terminal_rate_max integer,
    query_rate_max integer,
    generation bigint DEFAULT nextval('quota_generation'::regclass) NOT NULL,
    CONSTRAINT policy_pkey PRIMARY KEY (only_row),
    CONSTRAINT policy_answers_kept_seconds_check CHECK (answers_kept_seconds >= 86400 AND answers_kept_seconds <= '3153600000'::bigint),
    CONSTRAINT policy_check CHECK (reservations_kept_seconds >= answers_kept_seconds),
    CONSTRAINT policy_holds_default_max_check CHECK (holds_default_max >= 1 AND holds_default_max <= 1000000),
    CONSTRAINT policy_only_row_check CHECK (only_row),
    CONSTRAINT policy_query_rate_max_check CHECK (query_rate_max >= 1 AND query_rate_max <= 1000000),
    CONSTRAINT policy_quota_default_seconds_check CHECK (quota_default_seconds >= 0 AND quota_default_seconds <= '1000000000000'::bigint),
    CONSTRAINT policy_quota_period_check CHECK (quota_period = ANY (ARRAY['day'::text, 'week'::text, 'month'::text])),
    CONSTRAINT policy_reservations_kept_seconds_check CHECK (reservations_kept_seconds >= 3456000 AND reservations_kept_seconds <= '3153600000'::bigint),
    CONSTRAINT policy_terminal_rate_max_check CHECK (terminal_rate_max >= 1 AND terminal_rate_max <= 1000000)
);

CREATE TABLE processed_commands (
    terminal_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    answer_type text COLLATE "C" NOT NULL,
    answer text NOT NULL,
    server_id text COLLATE "C",
    reservation_id uuid,
    seq bigint NOT NULL,
    decided_at timestamp with time zone NOT NULL,
    CONSTRAINT processed_commands_pkey PRIMARY KEY (terminal_id, message_id)
);
CREATE INDEX processed_commands_by_age ON processed_commands USING brin (decided_at) WITH (autosummarize='on');

CREATE TABLE quota_bounds (
    generation bigint NOT NULL,
    local_start timestamp without time zone NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    CONSTRAINT quota_bounds_pkey PRIMARY KEY (generation, local_start)
);

CREATE TABLE recounts (
    only_row boolean DEFAULT true NOT NULL,
    generation bigint DEFAULT nextval('quota_generation'::regclass) NOT NULL,
    quota_period text COLLATE "C" NOT NULL,
    quota_zone text COLLATE "C" NOT NULL,
    marked_until text COLLATE "C" DEFAULT ''::text NOT NULL,
    counted_until text COLLATE "C" DEFAULT ''::text NOT NULL,
    marks bigint DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    operator text COLLATE "C" DEFAULT COALESCE(NULLIF(current_setting('holdfast.operator'::text, true), ''::text), SESSION_USER::text) NOT NULL,
    CONSTRAINT recounts_pkey PRIMARY KEY (only_row),
    CONSTRAINT recounts_check CHECK (counted_until <= marked_until),
    CONSTRAINT recounts_only_row_check CHECK (only_row),
    CONSTRAINT recounts_quota_period_check CHECK (quota_period = ANY (ARRAY['day'::text, 'week'::text, 'month'::text]))
);

CREATE TABLE reservations (
    id uuid NOT NULL,
    terminal_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    server_id text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    start_at timestamp with time zone NOT NULL,
    end_at timestamp with time zone NOT NULL,
    busy_until timestamp with time zone NOT NULL,
    deadline_at timestamp with time zone NOT NULL,
    remind_at timestamp with time zone,
    reminded_at timestamp with time zone,
    state text COLLATE "C" NOT NULL,
    cancel_reason text COLLATE "C",
    price_minor bigint NOT NULL,
    currency text COLLATE "C" NOT NULL,
    tariff_version integer NOT NULL,
    held_at timestamp with time zone NOT NULL,
    reconfirmed_at timestamp with time zone,
    settled_at timestamp with time zone,
    traceparent text COLLATE "C",
    tracestate text COLLATE "C",
    CONSTRAINT reservations_pkey PRIMARY KEY (id),
    CONSTRAINT reservations_cancel_reason_check CHECK (cancel_reason = ANY (ARRAY['not_reconfirmed'::text, 'withdrawn'::text, 'operator'::text])),
    CONSTRAINT reservations_check CHECK (start_at < end_at AND end_at <= busy_until AND deadline_at <= start_at),
    CONSTRAINT reservations_check1 CHECK (end_at <= (start_at + '744:00:00'::interval) AND busy_until <= (end_at + '24:00:00'::interval)),
    CONSTRAINT reservations_check2 CHECK (deadline_at >= '1970-01-01 00:00:00+00'::timestamp with time zone AND busy_until <= '9999-12-31 23:59:59+00'::timestamp with time zone),
    CONSTRAINT reservations_check3 CHECK (remind_at < deadline_at AND remind_at >= '1970-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT reservations_check4 CHECK ((state = 'cancelled'::text) = (cancel_reason IS NOT NULL)),
    CONSTRAINT reservations_check5 CHECK ((state = ANY (ARRAY['confirmed'::text, 'cancelled'::text])) = (settled_at IS NOT NULL)),
    CONSTRAINT reservations_check6 CHECK (state <> 'reconfirmed'::text OR reconfirmed_at IS NOT NULL),
    CONSTRAINT reservations_partition_check CHECK (partition >= 0 AND partition <= 255),
    CONSTRAINT reservations_price_minor_check CHECK (price_minor >= 0 AND price_minor <= '74400000000000'::bigint),
    CONSTRAINT reservations_state_check CHECK (state = ANY (ARRAY['held'::text, 'reconfirmed'::text, 'confirmed'::text, 'cancelled'::text])),
    CONSTRAINT reservations_traceparent_check CHECK (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'::text),
    CONSTRAINT reservations_tracestate_check CHECK (octet_length(tracestate) >= 1 AND octet_length(tracestate) <= 512)
);
CREATE INDEX reservations_by_user ON reservations USING btree (user_id, id);
CREATE INDEX reservations_cancelled_by_server ON reservations USING btree (server_id, start_at) WHERE state = 'cancelled'::text;
CREATE INDEX reservations_due ON reservations USING btree (partition, deadline_at, id) WHERE state = ANY (ARRAY['held'::text, 'reconfirmed'::text]);
CREATE INDEX reservations_live_by_server ON reservations USING btree (server_id, start_at) INCLUDE (busy_until) WHERE state <> 'cancelled'::text;
CREATE INDEX reservations_to_remind ON reservations USING btree (partition, remind_at, id) WHERE state = 'held'::text AND remind_at IS NOT NULL;

CREATE TABLE servers (
    id text COLLATE "C" NOT NULL,
    capacity integer NOT NULL,
    open boolean DEFAULT true NOT NULL,
    rate_minor bigint NOT NULL,
    currency text COLLATE "C" NOT NULL,
    tariff_version integer DEFAULT 1 NOT NULL,
    slot_seconds integer DEFAULT 60 NOT NULL,
    min_seconds integer DEFAULT 60 NOT NULL,
    max_seconds integer DEFAULT 86400 NOT NULL,
    gap_seconds integer DEFAULT 0 NOT NULL,
    lead_seconds integer DEFAULT 21600 NOT NULL,
    reminder_seconds integer DEFAULT 3600 NOT NULL,
    horizon_seconds integer DEFAULT 7776000 NOT NULL,
    late_booking text COLLATE "C" DEFAULT 'reject'::text NOT NULL,
    connection_url text NOT NULL,
    view_url text,
    viewers_max integer,
    early_seconds integer DEFAULT 0 NOT NULL,
    busy_max_seconds integer DEFAULT 0 NOT NULL,
    partition integer NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT servers_pkey PRIMARY KEY (id),
    CONSTRAINT servers_busy_max_seconds_check CHECK (busy_max_seconds >= 0 AND busy_max_seconds <= 2764800),
    CONSTRAINT servers_capacity_check CHECK (capacity >= 1 AND capacity <= 10000),
    CONSTRAINT servers_check CHECK (min_seconds <= max_seconds),
    CONSTRAINT servers_connection_url_check CHECK (octet_length(connection_url) >= 1 AND octet_length(connection_url) <= 2048),
    CONSTRAINT servers_currency_check CHECK (currency ~ '^[A-Z]{3}$'::text),
    CONSTRAINT servers_early_seconds_check CHECK (early_seconds >= 0 AND early_seconds <= 86400),
    CONSTRAINT servers_gap_seconds_check CHECK (gap_seconds >= 0 AND gap_seconds <= 86400),
    CONSTRAINT servers_horizon_seconds_check CHECK (horizon_seconds >= 1 AND horizon_seconds <= 63072000),
    CONSTRAINT servers_id_check CHECK (id ~ '^[a-z0-9-]{1,64}$'::text),
    CONSTRAINT servers_late_booking_check CHECK (late_booking = ANY (ARRAY['reject'::text, 'confirm'::text])),
    CONSTRAINT servers_lead_seconds_check CHECK (lead_seconds >= 0 AND lead_seconds <= 31536000),
    CONSTRAINT servers_max_seconds_check CHECK (max_seconds >= 1 AND max_seconds <= 2678400),
    CONSTRAINT servers_min_seconds_check CHECK (min_seconds >= 1 AND min_seconds <= 2678400),
    CONSTRAINT servers_partition_check CHECK (partition >= 0 AND partition <= 255),
    CONSTRAINT servers_rate_minor_check CHECK (rate_minor >= 0 AND rate_minor <= '100000000000'::bigint),
    CONSTRAINT servers_reminder_seconds_check CHECK (reminder_seconds >= 0 AND reminder_seconds <= 31536000),
    CONSTRAINT servers_slot_seconds_check CHECK (slot_seconds >= 1 AND slot_seconds <= 86400),
    CONSTRAINT servers_tariff_version_check CHECK (tariff_version >= 1),
    CONSTRAINT servers_view_url_check CHECK (octet_length(view_url) >= 1 AND octet_length(view_url) <= 2048 AND POSITION(('{key}'::text) IN (view_url)) = 0),
    CONSTRAINT servers_viewers_max_check CHECK (viewers_max >= 1 AND viewers_max <= 1000000)
);

CREATE TABLE sweeps (
    partition integer NOT NULL,
    swept_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT sweeps_pkey PRIMARY KEY (partition)
);

CREATE TABLE tariffs (
    server_id text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    rate_minor bigint NOT NULL,
    currency text COLLATE "C" NOT NULL,
    from_at timestamp with time zone NOT NULL,
    CONSTRAINT tariffs_pkey PRIMARY KEY (server_id, version),
    CONSTRAINT tariffs_rate_minor_check CHECK (rate_minor >= 0 AND rate_minor <= '100000000000'::bigint),
    CONSTRAINT tariffs_version_check CHECK (version >= 1)
);

CREATE TABLE terminals (
    id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT terminals_pkey PRIMARY KEY (id),
    CONSTRAINT terminals_id_check CHECK (id ~ '^[a-z0-9-]{1,64}$'::text)
);

CREATE TABLE timekeeping (
    only_row boolean DEFAULT true NOT NULL,
    believed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    read_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    behind_seconds double precision DEFAULT 0 NOT NULL,
    bounds_from timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    bounds_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT timekeeping_pkey PRIMARY KEY (only_row),
    CONSTRAINT timekeeping_only_row_check CHECK (only_row)
);

CREATE TABLE timers (
    partition integer NOT NULL,
    due_at timestamp with time zone NOT NULL,
    scheduled_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT timers_pkey PRIMARY KEY (partition, due_at)
) WITH (autovacuum_vacuum_scale_factor=0.0, autovacuum_vacuum_threshold=1000);
CREATE INDEX timers_unscheduled ON timers USING btree (created_at) WHERE scheduled_until IS NULL;

CREATE TABLE topology (
    only_row boolean DEFAULT true NOT NULL,
    partitions integer NOT NULL,
    open_partitions integer NOT NULL,
    delay_levels integer NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT topology_pkey PRIMARY KEY (only_row),
    CONSTRAINT topology_check CHECK (open_partitions >= 1 AND open_partitions <= partitions),
    CONSTRAINT topology_delay_levels_check CHECK (delay_levels >= 1 AND delay_levels <= 24),
    CONSTRAINT topology_only_row_check CHECK (only_row),
    CONSTRAINT topology_partitions_check CHECK (partitions >= 1 AND partitions <= 256)
);

CREATE TABLE user_periods (
    generation bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone NOT NULL,
    reserved_us bigint NOT NULL,
    CONSTRAINT user_periods_pkey PRIMARY KEY (generation, user_id, period_start)
) WITH (fillfactor=70);

CREATE TABLE users (
    id text COLLATE "C" NOT NULL,
    quota_seconds bigint,
    holds_max integer,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    holds integer DEFAULT 0 NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_holds_max_check CHECK (holds_max >= 1 AND holds_max <= 1000000),
    CONSTRAINT users_id_check CHECK (id ~ '^[a-z0-9-]{1,64}$'::text),
    CONSTRAINT users_quota_seconds_check CHECK (quota_seconds >= 0 AND quota_seconds <= '1000000000000'::bigint)
) WITH (fillfactor=50);

CREATE TABLE worker_accounts (
    name text COLLATE "C" NOT NULL,
    added_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    used_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    retired_at timestamp with time zone,
    CONSTRAINT worker_accounts_pkey PRIMARY KEY (name)
);

CREATE TABLE workers (
    id uuid NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    partitions integer[] DEFAULT '{}'::integer[] NOT NULL,
    version text DEFAULT ''::text NOT NULL,
    decided bigint DEFAULT 0 NOT NULL,
    decided_per_second double precision DEFAULT 0 NOT NULL,
    clock_ahead_seconds double precision DEFAULT 0 NOT NULL,
    http_address text,
    CONSTRAINT workers_pkey PRIMARY KEY (id)
) WITH (fillfactor=50);

ALTER TABLE access ADD CONSTRAINT access_reservation_id_fkey FOREIGN KEY (reservation_id) REFERENCES reservations(id) ON DELETE CASCADE;
ALTER TABLE access_use ADD CONSTRAINT access_use_reservation_id_fkey FOREIGN KEY (reservation_id) REFERENCES reservations(id) ON DELETE CASCADE;
CREATE VIEW admissions AS
 SELECT a.server_id,
    a.reservation_id,
    r.start_at,
    r.end_at,
    r.busy_until,
    r.state,
    a.key_hash,
    a.changed_at,
    s.capacity,
    s.viewers_max,
    s.early_seconds,
    EXTRACT(epoch FROM r.busy_until - r.end_at)::integer AS gap_seconds
   FROM access a
     JOIN servers s ON s.id = a.server_id
     JOIN reservations r ON r.id = a.reservation_id AND r.server_id = a.server_id
  WHERE r.state = 'confirmed'::text AND r.start_at < (now() + '26:00:00'::interval) AND r.start_at > (now() - make_interval(mins => 1, secs => s.busy_max_seconds::double precision)) AND r.end_at > (now() - '00:01:00'::interval)
UNION ALL
 SELECT a.server_id,
    a.reservation_id,
    r.start_at,
    r.end_at,
    r.busy_until,
    r.state,
    a.key_hash,
    a.changed_at,
    s.capacity,
    s.viewers_max,
    s.early_seconds,
    EXTRACT(epoch FROM r.busy_until - r.end_at)::integer AS gap_seconds
   FROM access a
     JOIN servers s ON s.id = a.server_id
     JOIN reservations r ON r.id = a.reservation_id AND r.server_id = a.server_id
  WHERE r.state = 'cancelled'::text AND r.start_at < (now() + '26:00:00'::interval) AND r.start_at > (now() - make_interval(mins => 1, secs => s.busy_max_seconds::double precision)) AND r.end_at > (now() - '00:01:00'::interval);
ALTER TABLE billing_entries ADD CONSTRAINT billing_entries_charge_id_fkey FOREIGN KEY (charge_id) REFERENCES billing_entries(id);
ALTER TABLE closures ADD CONSTRAINT closures_server_id_fkey FOREIGN KEY (server_id) REFERENCES servers(id);
ALTER TABLE gate_coverage ADD CONSTRAINT gate_coverage_server_id_fkey FOREIGN KEY (server_id) REFERENCES servers(id) ON DELETE CASCADE;
CREATE VIEW kept_generations AS
 SELECT policy.generation,
    policy.quota_period,
    policy.quota_zone,
    '~' COLLATE "C" AS until_user
   FROM policy
UNION ALL
 SELECT recounts.generation,
    recounts.quota_period,
    recounts.quota_zone,
    recounts.marked_until AS until_user
   FROM recounts;
ALTER TABLE moves ADD CONSTRAINT moves_server_id_fkey FOREIGN KEY (server_id) REFERENCES servers(id);
ALTER TABLE terminals ADD CONSTRAINT terminals_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id);

CREATE OR REPLACE FUNCTION public.advance_retention_clock(elapsed double precision)
 RETURNS double precision
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
declare
    kept timekeeping;
    clock timestamptz := clock_timestamp();
    step interval;
begin
    select * into kept from timekeeping for update;
    -- 120 s: two rounds of a worker. Of a longer silence nothing more is believed.
    step := greatest(least(clock - kept.read_at, make_interval(secs => least(elapsed, 120))), interval '0');
    if clock >= kept.believed_at then
        kept.believed_at := least(kept.believed_at + 2 * step, clock);
        kept.behind_seconds := 0;
    else
        -- A clock that was set back is followed once it has stayed there for a day. Sooner, a server that
        -- starts with the year 2000 would stop retention for decades.
        kept.behind_seconds := kept.behind_seconds + extract(epoch from step);
        if kept.behind_seconds >= 86400 then
            kept.believed_at := clock;
            kept.behind_seconds := 0;
        end if;
    end if;
    update timekeeping set believed_at = kept.believed_at, behind_seconds = kept.behind_seconds, read_at = clock;
    return extract(epoch from clock - kept.believed_at);
end $function$;

CREATE OR REPLACE FUNCTION public.announce_users()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
begin
    lock table recounts in row share mode;
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.begin_recount(to_period text, to_zone text)
 RETURNS recounts
 LANGUAGE plpgsql
AS $function$
declare
    begun recounts;
    stored record;
begin
    lock table recounts in exclusive mode;
    select * into begun from recounts;
    if found then
        return begun;
    end if;
    perform from timekeeping for update;
    -- Waits for those who store bounds far from now until they have committed what they reserve. Who stores
    -- later stores bounds of both generations.
    perform from policy for update;
    insert into recounts (quota_period, quota_zone) values (to_period, to_zone) returning * into begun;
    select least(t.bounds_from, s.from_at) as from_at, greatest(t.bounds_until, s.until_at) as until_at
    into stored from timekeeping t cross join time_to_store() s;
    perform store_quota_bounds(stored.from_at, stored.until_at);
    update timekeeping set bounds_from = stored.from_at, bounds_until = stored.until_at;
    return begun;
end $function$;

CREATE OR REPLACE FUNCTION public.check_capacity(ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
    violation record;
begin
    update servers s set busy_max_seconds = longest.seconds
    from (select server_id, ceil(max(extract(epoch from busy_until - start_at)))::integer as seconds
          from reservations where reservations.id = any (ids) group by server_id) longest
    where s.id = longest.server_id and s.busy_max_seconds < longest.seconds;

    select r.id, r.server_id, s.capacity into violation
    from reservations r join servers s on s.id = r.server_id
    where r.id = any (ids)
      and peak_depth(r.server_id, r.start_at, r.busy_until, s.busy_max_seconds) > s.capacity
    limit 1;
    if found then
        raise exception 'reservation % overbooks server % beyond its capacity of %',
            violation.id, violation.server_id, violation.capacity using errcode = 'ZR001';
    end if;
end $function$;

CREATE OR REPLACE FUNCTION public.check_zone()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
    spelled text;
begin
    select name into spelled from pg_timezone_names
    where lower(name) = lower(new.quota_zone) and zone_is_named(name);
    if spelled is null then
        raise exception 'quota zone %: unknown; expected UTC or an IANA name with its area, such as Europe/Berlin',
            new.quota_zone using errcode = '22023';
    end if;
    new.quota_zone := spelled;
    return new;
end $function$;

CREATE OR REPLACE FUNCTION public.expect_rows(changed bigint, expected bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if changed <> expected then
        raise exception '% of % locked rows changed', changed, expected using errcode = 'ZR006';
    end if;
end $function$;

CREATE OR REPLACE FUNCTION public.extend_quota_bounds()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
declare
    stored_until timestamptz;
    until_at timestamptz := now() + interval '800 days';
begin
    select case bounds_until when '-infinity' then now() else bounds_until end into stored_until from timekeeping;
    if stored_until < until_at - interval '10 days' then
        perform store_quota_bounds(stored_until, until_at);
        -- A recount may have stored more meanwhile.
        update timekeeping set bounds_from = least(bounds_from, stored_until),
            bounds_until = greatest(bounds_until, until_at);
    end if;
end $function$;

CREATE OR REPLACE FUNCTION public.guard_access()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
    violation record;
begin
    select n.reservation_id into violation from new_rows n
    where not exists (select from reservations where id = n.reservation_id and server_id = n.server_id
                      and state = 'confirmed' offset 0)
    limit 1;
    if found then
        raise exception 'reservation % gets no access key: it is not confirmed, or of another server',
            violation.reservation_id using errcode = 'ZR003';
    end if;
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.guard_billing_entries()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
    violation record;
begin
    select n.id, n.reservation_id into violation
    from new_rows n left join reservations r on r.id = n.reservation_id
    where r.id is null
    limit 1;
    if found then
        raise exception 'billing entry % is for reservation %, which does not exist',
            violation.id, violation.reservation_id using errcode = '23503';
    end if;
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.guard_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
declare
    violation record;
begin
    select id, state into violation from deleted_rows
    where state in ('held', 'reconfirmed') or end_at > retention_time()
    limit 1;
    if found then
        raise exception 'reservation % is not over: %', violation.id, violation.state using errcode = 'ZR003';
    end if;
    perform lock_for_guard('{}', array(select distinct user_id from deleted_rows where state <> 'cancelled'));
    -- A recount may not have a row of the period yet.
    insert into user_periods as kept (generation, user_id, period_start, period_end, reserved_us)
    select generation, user_id, period_start, period_end,
           sum(-1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
    from kept_generations join deleted_rows on user_id <= until_user
    cross join lateral periods_in(generation, quota_period, quota_zone, start_at, end_at)
    where state <> 'cancelled'
    group by generation, user_id, period_start, period_end
    on conflict (generation, user_id, period_start)
        do update set reserved_us = kept.reserved_us + excluded.reserved_us;
    -- An empty period that is over gets no more reservations.
    delete from user_periods kept
    using deleted_rows, kept_generations counted
    where kept.generation = counted.generation and kept.user_id = deleted_rows.user_id
      and kept.reserved_us = 0 and kept.period_end < retention_time();
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.guard_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'on'
AS $function$
declare
    violation record;
begin
    perform lock_for_guard(
        array(select distinct server_id from new_rows where state <> 'cancelled'),
        array(select distinct user_id from new_rows));

    select n.id into violation from new_rows n
    -- offset 0 keeps this a look-up per row: a join would read all users for a batch of one.
    where not exists (select from servers where id = n.server_id offset 0)
       or not exists (select from users where id = n.user_id offset 0)
       or not exists (select from terminals where id = n.terminal_id offset 0)
    limit 1;
    if found then
        raise exception 'reservation % names a server, user or terminal that does not exist', violation.id
            using errcode = '23503';
    end if;

    -- Before the check for overlaps, which looks back that far.
    update servers s set busy_max_seconds = longest.seconds
    from (select server_id, ceil(max(extract(epoch from busy_until - start_at)))::integer as seconds
          from new_rows where state <> 'cancelled' group by server_id) longest
    where s.id = longest.server_id and s.busy_max_seconds < longest.seconds;

    select n.id, n.server_id, s.capacity into violation
    from new_rows n
    cross join lateral (select capacity, busy_max_seconds from servers where id = n.server_id offset 0) s
    where n.state <> 'cancelled'
      -- Sort by time only where all overlapping reservations together exceed the capacity.
      and case when (select count(*) from (
                         select from reservations
                         where server_id = n.server_id and state <> 'cancelled'
                           and start_at < n.busy_until
                           and start_at > n.start_at - make_interval(secs => s.busy_max_seconds)
                           and busy_until > n.start_at
                         limit s.capacity + 1) overlapping) <= s.capacity then false
               else peak_depth(n.server_id, n.start_at, n.busy_until, s.busy_max_seconds) > s.capacity end
    limit 1;
    if found then
        raise exception 'reservation % overbooks server % beyond its capacity of %',
            violation.id, violation.server_id, violation.capacity using errcode = 'ZR001';
    end if;

    -- Only bounds far from now are not stored yet.
    perform store_quota_bounds(n.start_at, n.end_at) from new_rows n cross join timekeeping t
    where n.state <> 'cancelled' and (n.start_at < t.bounds_from or n.end_at > t.bounds_until);
    with touched as (
        insert into user_periods as kept (generation, user_id, period_start, period_end, reserved_us)
        select generation, user_id, period_start, period_end,
               sum(1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
        from kept_generations join new_rows on user_id <= until_user
        cross join lateral periods_in(generation, quota_period, quota_zone, start_at, end_at)
        where state <> 'cancelled'
        group by generation, user_id, period_start, period_end
        on conflict (generation, user_id, period_start)
            do update set reserved_us = kept.reserved_us + excluded.reserved_us
        returning kept.generation, kept.user_id, kept.period_start, kept.reserved_us
    )
    select t.user_id, t.period_start into violation
    from touched t join policy using (generation)
    cross join lateral (select quota_seconds from users where id = t.user_id offset 0) u
    where t.reserved_us > 1000000 * coalesce(u.quota_seconds, policy.quota_default_seconds)
    limit 1;
    if found then
        raise exception 'user % would exceed the quota of the period from %',
            violation.user_id, violation.period_start using errcode = 'ZR002';
    end if;

    with counted as (
        update users u set holds = u.holds + held.number
        from (select user_id, count(*) as number from new_rows where state = 'held' group by user_id) held
        where u.id = held.user_id
        returning u.id, u.holds, u.holds_max
    )
    select counted.id, counted.holds into violation from counted cross join policy
    where counted.holds > coalesce(counted.holds_max, policy.holds_default_max)
    limit 1;
    if found then
        raise exception 'user % would have % unreconfirmed holds, more than allowed', violation.id, violation.holds
            using errcode = 'ZR005';
    end if;
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.guard_referenced()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
    used boolean;
begin
    -- Waits for inserts that are not committed. Later inserts wait for this transaction, and find the row
    -- gone.
    lock table reservations in share row exclusive mode;
    execute format('select exists (select from reservations r join deleted_rows d on r.%I = d.id)', tg_argv[0])
        into used;
    if used then
        raise exception '% that reservations name cannot be deleted', tg_table_name using errcode = '23503';
    end if;
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.guard_server()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
    in_the_way text;
begin
    if tg_op = 'INSERT' then
        -- A server that is added again goes on counting: bills name versions.
        new.tariff_version := greatest(new.tariff_version, 1 + coalesce(
            (select max(version) from tariffs where server_id = new.id), 0));
    else
        new.busy_max_seconds := greatest(new.busy_max_seconds, old.busy_max_seconds);
        new.tariff_version := old.tariff_version
            + (new.rate_minor <> old.rate_minor or new.currency <> old.currency)::integer;
        if new.capacity < old.capacity then
            -- An older snapshot would not show what was booked since.
            if current_setting('transaction_isolation') <> 'read committed' then
                raise exception 'capacity can only be lowered at READ COMMITTED' using errcode = 'ZR001';
            end if;
            select string_agg(r.id::text, ', ' order by r.start_at, r.id) into in_the_way
            from reservations r
            where r.server_id = new.id and r.state <> 'cancelled' and r.busy_until > clock_timestamp()
              -- Implied, and spares the past.
              and r.start_at > now() - make_interval(secs => new.busy_max_seconds)
              and peak_depth(r.server_id, r.start_at, r.busy_until, new.busy_max_seconds) > new.capacity;
            if in_the_way is not null then
                raise exception 'capacity % of server % is below what is booked', new.capacity, new.id
                    using errcode = 'ZR001', detail = in_the_way;
            end if;
        end if;
    end if;
    return new;
end $function$;

CREATE OR REPLACE FUNCTION public.guard_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
 SET enable_seqscan TO 'off'
AS $function$
declare
    change record;
    overrun record;
begin
    with pairs as (
        select id,
               count(*) filter (where is_new) as news, count(*) filter (where not is_new) as olds,
               min(state) filter (where not is_new) as from_state, min(state) filter (where is_new) as to_state,
               min(server_id) filter (where is_new) as server_id, min(user_id) filter (where is_new) as user_id,
               min(user_id) filter (where not is_new) as from_user,
               min(server_id) <> max(server_id) or min(user_id) <> max(user_id)
                   or min(start_at) filter (where is_new) < min(start_at) filter (where not is_new)
                   or max(end_at) filter (where is_new) > max(end_at) filter (where not is_new)
                   or max(busy_until) filter (where is_new) > max(busy_until) filter (where not is_new) as takes_more,
               min(start_at) <> max(start_at) or min(end_at) <> max(end_at) or min(user_id) <> max(user_id)
                   as counts_otherwise
        from (select id, state, server_id, user_id, start_at, end_at, busy_until, false as is_new from old_rows
              union all
              select id, state, server_id, user_id, start_at, end_at, busy_until, true from new_rows) both_sets
        group by id
    ), classified as (
        select *,
               (from_state, to_state) not in (
                   ('held', 'held'), ('reconfirmed', 'reconfirmed'), ('confirmed', 'confirmed'),
                   ('cancelled', 'cancelled'),
                   ('held', 'reconfirmed'), ('held', 'confirmed'), ('held', 'cancelled'),
                   ('reconfirmed', 'confirmed'), ('reconfirmed', 'cancelled'),
                   ('confirmed', 'cancelled')) as illegal,
               to_state <> 'cancelled' and takes_more as grows,
               counts_otherwise or (from_state = 'cancelled') <> (to_state = 'cancelled')
                   or (from_state = 'held') <> (to_state = 'held') as changes_use
        from pairs
    )
    select (array_agg(id) filter (where olds <> 1 or news <> 1))[1] as unpaired_id,
           (array_agg(id) filter (where illegal))[1] as illegal_id,
           (array_agg(from_state) filter (where illegal))[1] as from_state,
           (array_agg(to_state) filter (where illegal))[1] as to_state,
           array_agg(id) filter (where grows) as growing,
           array_agg(distinct server_id) filter (where grows) as growing_servers,
           array_agg(distinct user_id) filter (where grows) as growing_users,
           array_agg(distinct user_id) filter (where changes_use)
               || array_agg(distinct from_user) filter (where changes_use) as changed_users
    into change
    from classified;
    -- Rows are paired by id, and history and billing entries name it.
    if change.unpaired_id is not null then
        raise exception 'reservation % keeps its id', change.unpaired_id using errcode = 'ZR003';
    end if;
    if change.illegal_id is not null then
        raise exception 'reservation % cannot go from % to %',
            change.illegal_id, change.from_state, change.to_state using errcode = 'ZR003';
    end if;
    if change.growing is not null then
        perform lock_for_guard(change.growing_servers, change.changed_users);
        perform check_capacity(change.growing);
    elsif change.changed_users is not null then
        perform lock_for_guard('{}', change.changed_users);
    else
        return null;
    end if;

    -- Only bounds far from now are not stored yet.
    perform store_quota_bounds(n.start_at, n.end_at) from new_rows n cross join timekeeping t
    where n.state <> 'cancelled' and (n.start_at < t.bounds_from or n.end_at > t.bounds_until);
    with touched as (
        insert into user_periods as kept (generation, user_id, period_start, period_end, reserved_us)
        select generation, user_id, period_start, period_end,
               sum(sign * 1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
        from (select user_id, start_at, end_at, sum(sign) as sign
              from (select id, user_id, start_at, end_at, 1 as sign from new_rows where state <> 'cancelled'
                    union all
                    select id, user_id, start_at, end_at, -1 from old_rows where state <> 'cancelled') signed
              group by id, user_id, start_at, end_at having sum(sign) <> 0) difference
        join kept_generations on user_id <= until_user
        cross join lateral periods_in(generation, quota_period, quota_zone, start_at, end_at)
        group by generation, user_id, period_start, period_end
        on conflict (generation, user_id, period_start)
            do update set reserved_us = kept.reserved_us + excluded.reserved_us
        returning kept.generation, kept.user_id, kept.period_start, kept.reserved_us
    )
    select t.user_id, t.period_start into overrun
    from touched t join policy using (generation)
    cross join lateral (select quota_seconds from users where id = t.user_id offset 0) u
    where t.reserved_us > 1000000 * coalesce(u.quota_seconds, policy.quota_default_seconds)
      -- A lowered limit affects only what takes more.
      and t.user_id = any (change.growing_users)
    limit 1;
    if found then
        raise exception 'user % would exceed the quota of the period from %',
            overrun.user_id, overrun.period_start using errcode = 'ZR002';
    end if;

    update users u set holds = u.holds + difference.number
    from (select user_id, sum(sign) as number
          from (select user_id, 1 as sign from new_rows where state = 'held'
                union all
                select user_id, -1 from old_rows where state = 'held') signed
          group by user_id having sum(sign) <> 0) difference
    where u.id = difference.user_id;
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.keep_tariff()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
begin
    insert into tariffs (server_id, version, rate_minor, currency, from_at)
    values (new.id, new.tariff_version, new.rate_minor, new.currency, clock_timestamp());
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.lock_for_guard(server_ids text[], user_ids text[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if cardinality(server_ids) + cardinality(user_ids) = 0 then
        return;
    end if;
    if cardinality(server_ids) > 0 and current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'reservations can only be made at READ COMMITTED' using errcode = 'ZR001';
    end if;
    perform from servers where id = any (server_ids) order by id for no key update;
    perform from users where id = any (user_ids) order by id for no key update;
end $function$;

CREATE OR REPLACE FUNCTION public.oldest_id_of(at timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select (lpad(to_hex(greatest(floor(extract(epoch from at) * 1000), 0)::bigint), 12, '0') || repeat('0', 20))::uuid
$function$;

CREATE OR REPLACE FUNCTION public.peak_depth(of_server text, from_at timestamp with time zone, to_at timestamp with time zone, busy_max_seconds integer)
 RETURNS integer
 LANGUAGE sql
 STABLE
AS $function$
    with overlapping as (
        select start_at, busy_until from reservations
        where server_id = of_server and state <> 'cancelled'
          and start_at < to_at and start_at > from_at - make_interval(secs => busy_max_seconds)
          and busy_until > from_at
    ), steps as (
        select greatest(start_at, from_at) as at, 1 as step from overlapping
        union all
        select busy_until, -1 from overlapping where busy_until < to_at
    )
    select coalesce(max(depth), 0)::integer
    from (select sum(step) over (order by at, step) as depth from steps) running
$function$;

CREATE OR REPLACE FUNCTION public.periods_in(of_generation bigint, period text, zone text, from_at timestamp with time zone, to_at timestamp with time zone)
 RETURNS TABLE(period_start timestamp with time zone, period_end timestamp with time zone)
 LANGUAGE sql
 STABLE
AS $function$
    select bounds.period_start, bounds.period_end
    from (select ('1 ' || period)::interval as step) p
    cross join lateral generate_series(
        -- One step early and one late. Where clocks go back to midnight, a period begins with the second
        -- midnight, and the time since the first one belongs to the period before. And stored bounds may
        -- follow other rules than this session's.
        date_trunc(period, from_at at time zone zone) - p.step,
        (to_at - interval '1 microsecond') at time zone zone + p.step,
        p.step) as series (first_day)
    cross join lateral (
        select coalesce((select starts_at from quota_bounds
                         where generation = of_generation and local_start = series.first_day),
                        series.first_day at time zone zone) as period_start,
               coalesce((select starts_at from quota_bounds
                         where generation = of_generation and local_start = series.first_day + p.step),
                        (series.first_day + p.step) at time zone zone) as period_end) bounds
    where bounds.period_start < to_at and bounds.period_end > from_at
      and bounds.period_start < bounds.period_end -- a zone may skip a day
$function$;

CREATE OR REPLACE FUNCTION public.quota_periods(from_at timestamp with time zone, to_at timestamp with time zone)
 RETURNS TABLE(period_start timestamp with time zone, period_end timestamp with time zone)
 LANGUAGE sql
 STABLE
AS $function$
    select p.period_start, p.period_end
    from policy cross join lateral periods_in(generation, quota_period, quota_zone, from_at, to_at) p
$function$;

CREATE OR REPLACE FUNCTION public.record_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
declare
    no_settings text[] := tg_argv[2]::text[];
    before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - no_settings end;
    after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - no_settings end;
    object_id text := coalesce(to_jsonb(new), to_jsonb(old)) ->> tg_argv[1];
begin
    if tg_op = 'UPDATE' then
        select jsonb_object_agg(b.key, b.value), jsonb_object_agg(a.key, a.value) into before, after
        from jsonb_each(before) b join jsonb_each(after) a using (key)
        where b.value <> a.value;
        if before is null then
            return null;
        end if;
    end if;
    perform write_audit(tg_argv[0], object_id,
        case tg_op when 'INSERT' then 'add' when 'UPDATE' then 'set' else 'remove' end, before, after);
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.record_letter()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
begin
    perform write_audit('dead_letter', new.id::text,
        case new.state when 'discarded' then 'discard' else 'replay' end, null,
        jsonb_build_object('reason', new.reason, 'account', new.account, 'routing_key', new.routing_key,
            'message_id', new.message_id, 'attempts', new.attempts));
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.record_move()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
begin
    perform write_audit('server', new.server_id, 'move', jsonb_build_object('partition', new.from_partition),
        jsonb_build_object('partition', new.to_partition));
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.recount_for_policy()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    perform recount_use();
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.recount_use()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
begin
    -- Nobody reserves against an old count meanwhile.
    lock table reservations in share row exclusive mode;
    delete from recounts;
    perform restore_quota_bounds();
    delete from user_periods;
    insert into user_periods (generation, user_id, period_start, period_end, reserved_us)
    select policy.generation, user_id, period_start, period_end,
           sum(1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
    from policy cross join reservations cross join lateral quota_periods(start_at, end_at)
    where state <> 'cancelled'
    group by policy.generation, user_id, period_start, period_end;
    update users set holds = counted.holds
    from (select id, (select count(*) from reservations
                      where user_id = users.id and state = 'held') as holds from users) counted
    where users.id = counted.id and users.holds <> counted.holds;
end $function$;

CREATE OR REPLACE FUNCTION public.refuse_old_key()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    raise exception 'the access key of reservation % keeps its reservation, and its epoch only grows',
        old.reservation_id using errcode = 'ZR003';
end $function$;

CREATE OR REPLACE FUNCTION public.refuse_rewrite()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'ZR004';
end $function$;

CREATE OR REPLACE FUNCTION public.refuse_truncate()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    raise exception '% cannot be truncated', tg_table_name using errcode = 'ZR004';
end $function$;

CREATE OR REPLACE FUNCTION public.restore_quota_bounds()
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
    stored record;
begin
    perform from timekeeping for update;
    perform from policy for update;
    delete from quota_bounds;
    select * into stored from time_to_store();
    perform store_quota_bounds(stored.from_at, stored.until_at);
    update timekeeping set bounds_from = stored.from_at, bounds_until = stored.until_at;
end $function$;

CREATE OR REPLACE FUNCTION public.retention_time()
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$
    select least(believed_at, now()) from timekeeping
$function$;

CREATE OR REPLACE FUNCTION public.store_quota_bounds(from_at timestamp with time zone, to_at timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    perform from policy for share;
    insert into quota_bounds (generation, local_start, starts_at)
    select p.generation, series.first_day, series.first_day at time zone p.quota_zone
    from (select generation, quota_zone, quota_period, ('1 ' || quota_period)::interval as step
          from kept_generations) p
    cross join lateral generate_series(
        date_trunc(p.quota_period, from_at at time zone p.quota_zone) - p.step,
        (to_at - interval '1 microsecond') at time zone p.quota_zone + 2 * p.step,
        p.step) as series (first_day)
    order by p.generation, series.first_day
    on conflict do nothing;
end $function$;

CREATE OR REPLACE FUNCTION public.time_to_store(OUT from_at timestamp with time zone, OUT until_at timestamp with time zone)
 RETURNS record
 LANGUAGE sql
 STABLE
AS $function$
    -- A century bounds the work; beyond it there is only what was typed by hand. A reservation takes 31 days at
    -- most. Each server's first and last start are one look into its index; the table is not read.
    select least(min(first.start_at), now()),
           greatest(least(coalesce(max(last.start_at) + interval '31 days', now()), now() + interval '100 years'),
                    now() + interval '800 days')
    from servers s
    left join lateral (select start_at from reservations where server_id = s.id and state <> 'cancelled'
                       order by start_at limit 1) first on true
    left join lateral (select start_at from reservations where server_id = s.id and state <> 'cancelled'
                       order by start_at desc limit 1) last on true
$function$;

CREATE OR REPLACE FUNCTION public.touch_access()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
begin
    update access set changed_at = clock_timestamp(), server_id = new.server_id,
        close_at = case when new.state = 'confirmed' and close_at is not null
                        then new.end_at + interval '60 s' end
    where reservation_id = new.id;
    return null;
end $function$;

CREATE OR REPLACE FUNCTION public.used_seconds(of_user text, from_at timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
    select coalesce((select ceil(reserved_us / 1000000.0)::bigint from user_periods
                     where generation = (select generation from policy)
                       and user_id = of_user and period_start = from_at), 0)
$function$;

CREATE OR REPLACE FUNCTION public.write_audit(kind text, object_id text, action text, before jsonb, after jsonb)
 RETURNS void
 LANGUAGE sql
AS $function$
    insert into audit (operator, database_role, kind, object_id, action, before, after, why)
    values (coalesce(nullif(current_setting('holdfast.operator', true), ''), session_user), session_user,
            kind, object_id, action, before, after, nullif(current_setting('holdfast.why', true), ''))
$function$;

CREATE OR REPLACE FUNCTION public.zone_is_named(name text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select name ~ '^(UTC|(Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Europe|Indian|Pacific)/.+)$'
$function$;

CREATE TRIGGER access_epoch_grows BEFORE UPDATE OF reservation_id, epoch ON access FOR EACH ROW WHEN (new.reservation_id <> old.reservation_id OR new.epoch < old.epoch) EXECUTE FUNCTION refuse_old_key();
CREATE TRIGGER access_guard AFTER INSERT ON access REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION guard_access();
CREATE TRIGGER audit_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER billing_entries_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON billing_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER billing_entries_guard AFTER INSERT ON billing_entries REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION guard_billing_entries();
CREATE TRIGGER closures_audit AFTER INSERT OR DELETE OR UPDATE ON closures FOR EACH ROW EXECUTE FUNCTION record_change('server_closure', 'server_id', '{server_id}');
CREATE TRIGGER dead_letters_discard AFTER UPDATE OF state ON dead_letters FOR EACH ROW WHEN (new.state = 'discarded'::text AND old.state <> 'discarded'::text) EXECUTE FUNCTION record_letter();
CREATE TRIGGER dead_letters_replay AFTER UPDATE OF attempts ON dead_letters FOR EACH ROW WHEN (new.attempts > old.attempts) EXECUTE FUNCTION record_letter();
CREATE TRIGGER history_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON history FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER installation_audit AFTER INSERT OR DELETE OR UPDATE ON installation FOR EACH ROW EXECUTE FUNCTION record_change('installation', 'only_row', '{only_row,created_at}');
CREATE TRIGGER moves_audit AFTER INSERT ON moves FOR EACH ROW EXECUTE FUNCTION record_move();
CREATE TRIGGER pauses_audit AFTER INSERT OR DELETE OR UPDATE ON pauses FOR EACH ROW EXECUTE FUNCTION record_change('pause', 'scope', '{scope,why,paused_at}');
CREATE TRIGGER policy_audit AFTER INSERT OR DELETE OR UPDATE ON policy FOR EACH ROW EXECUTE FUNCTION record_change('policy', 'only_row', '{only_row,generation}');
CREATE TRIGGER policy_recount AFTER UPDATE OF quota_period, quota_zone ON policy FOR EACH ROW WHEN (old.generation = new.generation AND (old.quota_period <> new.quota_period OR old.quota_zone <> new.quota_zone)) EXECUTE FUNCTION recount_for_policy();
CREATE TRIGGER policy_zone BEFORE INSERT OR UPDATE OF quota_zone ON policy FOR EACH ROW EXECUTE FUNCTION check_zone();
CREATE TRIGGER recounts_zone BEFORE INSERT ON recounts FOR EACH ROW EXECUTE FUNCTION check_zone();
CREATE TRIGGER reservations_guard_delete AFTER DELETE ON reservations REFERENCING OLD TABLE AS deleted_rows FOR EACH STATEMENT EXECUTE FUNCTION guard_delete();
CREATE TRIGGER reservations_guard_insert AFTER INSERT ON reservations REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION guard_insert();
CREATE TRIGGER reservations_guard_update AFTER UPDATE ON reservations REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION guard_update();
CREATE TRIGGER reservations_no_truncate BEFORE TRUNCATE ON reservations FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER reservations_touch_access AFTER UPDATE OF state, server_id, start_at, end_at, busy_until ON reservations FOR EACH ROW WHEN (old.state = 'confirmed'::text AND (old.state IS DISTINCT FROM new.state OR old.server_id IS DISTINCT FROM new.server_id OR old.start_at IS DISTINCT FROM new.start_at OR old.end_at IS DISTINCT FROM new.end_at OR old.busy_until IS DISTINCT FROM new.busy_until)) EXECUTE FUNCTION touch_access();
CREATE TRIGGER servers_audit AFTER INSERT OR DELETE OR UPDATE OF id, capacity, open, rate_minor, currency, slot_seconds, min_seconds, max_seconds, gap_seconds, lead_seconds, reminder_seconds, horizon_seconds, late_booking, connection_url, view_url, viewers_max, early_seconds ON servers FOR EACH ROW EXECUTE FUNCTION record_change('server', 'id', '{id,busy_max_seconds,created_at}');
CREATE TRIGGER servers_first_tariff AFTER INSERT ON servers FOR EACH ROW EXECUTE FUNCTION keep_tariff();
CREATE TRIGGER servers_guard BEFORE INSERT OR UPDATE ON servers FOR EACH ROW EXECUTE FUNCTION guard_server();
CREATE TRIGGER servers_next_tariff AFTER UPDATE OF rate_minor, currency ON servers FOR EACH ROW WHEN (old.tariff_version <> new.tariff_version) EXECUTE FUNCTION keep_tariff();
CREATE TRIGGER servers_no_truncate BEFORE TRUNCATE ON servers FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER servers_referenced AFTER DELETE ON servers REFERENCING OLD TABLE AS deleted_rows FOR EACH STATEMENT EXECUTE FUNCTION guard_referenced('server_id');
CREATE TRIGGER tariffs_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON tariffs FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER terminals_audit AFTER INSERT OR DELETE OR UPDATE ON terminals FOR EACH ROW EXECUTE FUNCTION record_change('terminal', 'id', '{id,created_at}');
CREATE TRIGGER terminals_no_truncate BEFORE TRUNCATE ON terminals FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER terminals_referenced AFTER DELETE ON terminals REFERENCING OLD TABLE AS deleted_rows FOR EACH STATEMENT EXECUTE FUNCTION guard_referenced('terminal_id');
CREATE TRIGGER topology_audit AFTER INSERT OR DELETE OR UPDATE ON topology FOR EACH ROW EXECUTE FUNCTION record_change('topology', 'only_row', '{only_row,applied_at}');
CREATE TRIGGER users_announced BEFORE INSERT OR UPDATE OF id ON users FOR EACH STATEMENT EXECUTE FUNCTION announce_users();
CREATE TRIGGER users_audit AFTER INSERT OR DELETE OR UPDATE OF id, quota_seconds, holds_max ON users FOR EACH ROW EXECUTE FUNCTION record_change('user', 'id', '{id,holds,created_at}');
CREATE TRIGGER users_no_truncate BEFORE TRUNCATE ON users FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER users_referenced AFTER DELETE ON users REFERENCING OLD TABLE AS deleted_rows FOR EACH STATEMENT EXECUTE FUNCTION guard_referenced('user_id');
