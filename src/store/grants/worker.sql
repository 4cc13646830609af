-- A worker changes no policy, no price and no quota, only adds to history and billing entries, and creates
-- no tables, not even temporary ones.
grant usage on schema public to {role};
grant select on policy, installation, topology, schema_migrations, closures, servers, users, user_periods,
    terminals, timekeeping, quota_bounds, pauses to {role};
-- Locking a row takes the right to update one of its columns: here one that nothing depends on.
grant update (created_at) on users to {role};
-- A fence moves a server. The guard writes its counts with its owner's rights.
grant update (partition) on servers to {role};
grant select, update (fenced_at), delete on moves to {role};
-- What an operator has replayed.
grant select on dead_letters to {role};
grant delete, update (closed_at) on dead_letters to {role};
-- A worker records the broker account that it uses.
grant select, insert, update (retired_at, used_at) on worker_accounts to {role};
-- The guard refuses to delete what is not over.
grant select, insert, delete on reservations to {role};
grant update (state, cancel_reason, reconfirmed_at, settled_at, remind_at, reminded_at, partition, traceparent,
    tracestate)
    on reservations to {role};
-- Pruning locks rows as well.
grant select, insert, delete on processed_commands, outbox_messages to {role};
grant update (decided_at) on processed_commands to {role};
grant update (created_at) on outbox_messages to {role};
grant insert on history, billing_entries to {role};
-- A key is written with its confirmation; a worker derives what an operator has rotated, and closes.
grant select, insert on access, access_secrets to {role};
grant update (secret_id, key_hash, changed_at, close_at) on access to {role};
-- What became of a reservation's time.
grant select on access_use to {role};
grant select, delete, update (until_at) on gate_coverage to {role};
-- For `show`: why an operator cancelled, and whether a charge was credited.
grant select (reservation_id, from_state, to_state, note) on history to {role};
grant select, insert, update, delete on outbox, timers, sweeps, workers, delivery_attempts to {role};
grant usage on sequence decision_block to {role};
