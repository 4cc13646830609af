-- What a worker does, table by table. It changes no policy, no server's price and no user's quota;
-- history and billing entries it only adds to; and it makes no tables, not even temporary ones.
grant usage on schema public to {role};
grant select on policy, topology, schema_migrations, closures, servers, users, user_periods, terminals to {role};
-- Locking a row takes the right to change some column of it: one that nothing depends on.
grant update (created_at) on users to {role};
-- What the first request of a server finds out. What the guard counts, it counts by its owner's rights.
grant update (partition) on servers to {role};
-- The guard lets nobody delete what is not over.
grant select, insert, delete on reservations to {role};
grant update (state, cancel_reason, reconfirmed_at, settled_at, remind_at, reminded_at)
    on reservations to {role};
grant select, insert, delete on processed_commands, outbox_messages to {role};
grant update (decided_at) on processed_commands to {role};
grant update (created_at) on outbox_messages to {role};
grant insert on history, billing_entries to {role};
grant select, insert, update, delete on outbox, timers, sweeps, workers, delivery_attempts to {role};
grant usage on sequence decision_block to {role};
