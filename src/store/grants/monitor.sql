-- Who watches reads what is set up and what waits, and changes nothing: no messages, no prices, no connection
-- URLs, and of reservations not whose they are.
grant usage on schema public to {role};
grant select on policy, installation, topology, schema_migrations, timekeeping, quota_bounds, moves, workers,
    pauses, timers, sweeps, outbox, worker_accounts, database_roles, terminals, delivery_attempts,
    recounts to {role};
grant select (id, open, partition, busy_max_seconds, created_at) on servers to {role};
grant select (id, server_id, partition, state, deadline_at, remind_at, start_at, end_at, busy_until, settled_at)
    on reservations to {role};
grant select (id, kind, type, must_route, created_at) on outbox_messages to {role};
grant select (id, reason, state, died_at, times, attempts, closed_at) on dead_letters to {role};
grant select (id, at, operator, kind, object_id, action) on audit to {role};
