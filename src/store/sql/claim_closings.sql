-- Claims reservations whose use is to be recorded, for as long as a worker may take, and tells what gates saw of
-- each. Sessions that overlap, or that several gates saw, count once.
-- $1 most reservations, $2 lease in seconds
with claimed as (
    update access set close_at = clock_timestamp() + make_interval(secs => $2::double precision)
    -- An array keeps this a look-up by id, whatever the planner estimates.
    where reservation_id = any (array(
        select reservation_id from access where close_at <= now()
        order by close_at limit $1::bigint for update skip locked))
    returning reservation_id
)
select r.id, sessions.first_at, sessions.last_at, used.seconds,
       coalesce((select range_agg(tstzrange(c.from_at, c.until_at)) @> tstzrange(r.start_at, r.end_at)
                 from gate_coverage c
                 where c.server_id = r.server_id and c.until_at > r.start_at and c.from_at < r.end_at), false)
           as watched
from reservations r
cross join lateral (
    select min(u.first_at) as first_at, max(u.last_at) as last_at,
           range_agg(tstzrange(u.first_at, u.last_at)) * tstzmultirange(tstzrange(r.start_at, r.end_at)) as within
    from access_use u where u.reservation_id = r.id) sessions
cross join lateral (
    select coalesce(round(sum(extract(epoch from upper(part) - lower(part)))), 0)::bigint as seconds
    from unnest(sessions.within) as part) used
where r.id = any (array(select reservation_id from claimed))
