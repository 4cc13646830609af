-- The clock, the instant before which everything committed is visible to the statements behind this one,
-- and whether this server is read-only. A standby that has replayed nothing since it started promises
-- nothing.
select clock,
       case when pg_is_in_recovery() then coalesce(pg_last_xact_replay_timestamp(), 'epoch') else clock end,
       current_setting('transaction_read_only') = 'on'
from clock_timestamp() as clock
