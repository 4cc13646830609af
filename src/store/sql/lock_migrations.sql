-- Waits for everybody else who migrates. $1 the lock's number
select pg_advisory_lock($1)
