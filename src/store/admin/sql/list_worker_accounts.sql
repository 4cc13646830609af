-- Broker accounts that workers use
select name from worker_accounts where retired_at is null order by name
