-- One replica prunes at a time. The number is the lock's own.
select pg_try_advisory_xact_lock(4702394921090429)
