-- Reservations of servers in windows and in the turn-around behind them, by start. At most capacity
-- reservations overlap the start of a window, and unless the turn-around has been lengthened as many start
-- within it, so the limit cuts off only later ones.
-- $1 indexes of queries, $2 servers, $3 starts, $4 ends, side by side, $5 most rows beyond twice the capacity
select asked.query, r.id, r.start_at, r.busy_until, 2 * s.capacity::bigint + $5::bigint as most
from unnest($1::integer[], $2::text[], $3::timestamptz[], $4::timestamptz[])
    as asked (query, server_id, start_at, end_at)
join servers s on s.id = asked.server_id
cross join lateral (
    select id, start_at, busy_until from reservations
    where server_id = asked.server_id and state <> 'cancelled'
      and start_at < asked.end_at + make_interval(secs => s.gap_seconds)
      and start_at > asked.start_at - make_interval(secs => s.busy_max_seconds)
      and busy_until > asked.start_at
    order by start_at limit 2 * s.capacity::bigint + $5::bigint) r
order by asked.query, r.start_at
