-- Broker accounts of workers, the retired ones last
select name, added_at, used_at, retired_at from worker_accounts order by retired_at nulls first, name
