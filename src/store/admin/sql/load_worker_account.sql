-- $1 account
select retired_at from worker_accounts where name = $1
