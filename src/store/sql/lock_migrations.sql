-- Takes the turn to migrate, unless somebody else has it. $1 the lock's number
select pg_try_advisory_lock($1)
