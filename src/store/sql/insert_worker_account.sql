-- Records a worker's broker account; no row if a terminal has that name. $1 account
insert into worker_accounts (name) select $1 where not exists (select from terminals where id = $1)
on conflict (name) do update set retired_at = null, used_at = clock_timestamp()
