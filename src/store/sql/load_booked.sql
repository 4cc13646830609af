-- Live reservations that overlap a requested time, turn-around included. No reservation keeps its
-- server busy for longer than busy_max_seconds, which bounds the scan of the index.
-- $1 servers, $2 starts, $3 ends, side by side
select r.id, r.server_id, r.start_at, r.busy_until
from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as asked (server_id, start_at, end_at)
join servers s on s.id = asked.server_id
join reservations r on r.server_id = asked.server_id and r.state <> 'cancelled'
    and r.start_at < asked.end_at + make_interval(secs => s.gap_seconds)
    and r.start_at > asked.start_at - make_interval(secs => s.busy_max_seconds)
    and r.busy_until > asked.start_at
