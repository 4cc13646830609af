-- One replica prunes at a time; the number is this lock's own.
select pg_try_advisory_xact_lock(4702394921090429)
