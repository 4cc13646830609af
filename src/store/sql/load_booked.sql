-- Live reservations that overlap a requested time, gaps included. No reservation keeps its server busy
-- for longer than busy_max_seconds, which bounds the scan of the index.
-- $1 servers, $2 starts, $3 ends, side by side
select r.id, r.server_id, r.start_at, r.busy_until
from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as asked (server_id, start_at, end_at)
join servers s on s.id = asked.server_id
cross join lateral (
    select id, server_id, start_at, busy_until from reservations
    where server_id = asked.server_id and state <> 'cancelled'
      and start_at < asked.end_at + make_interval(secs => s.gap_seconds)
      and start_at > asked.start_at - make_interval(secs => s.busy_max_seconds)
      and busy_until > asked.start_at
    -- offset 0 keeps this one index scan per requested time: a hash join would compare each requested
    -- time with all reservations of a busy server.
    offset 0) r
