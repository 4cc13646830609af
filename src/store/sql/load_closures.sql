-- Closures that touch a requested time. $1 servers, $2 starts, $3 ends, side by side
select distinct c.server_id, c.start_at, c.end_at
from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as asked (server_id, start_at, end_at)
join closures c on c.server_id = asked.server_id
    and c.start_at < asked.end_at and c.end_at > asked.start_at
