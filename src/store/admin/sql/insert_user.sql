-- $1 user, $2 quota or null, $3 most holds or null
insert into users (id, quota_seconds, holds_max) values ($1, $2, $3)
on conflict (id) do nothing
