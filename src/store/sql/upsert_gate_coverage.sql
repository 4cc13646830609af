insert into gate_coverage (server_id, gate, from_at, until_at)
select $1, $2, from_at, until_at
from unnest($3::timestamptz[], $4::timestamptz[]) as watched (from_at, until_at)
on conflict (server_id, gate, from_at) do update set until_at = excluded.until_at
