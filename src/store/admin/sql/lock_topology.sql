-- Takes the lock of commands that change bindings, if it is free. The number is the lock's own.
select pg_try_advisory_lock(7203412908120015)
