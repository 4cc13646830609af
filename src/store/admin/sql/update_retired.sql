-- $1 account
update worker_accounts set retired_at = clock_timestamp() where name = $1 and retired_at is null
