-- The latest overdue instant of each swept partition, from the reservations themselves: a wake-up
-- for it at the tail of the queue settles everything due at or before it.
-- $1 partitions, $2 grace in seconds
select swept.partition, latest.deadline_at, clock_timestamp() as now
from unnest($1::integer[]) as swept (partition)
cross join lateral (
    select deadline_at from reservations
    where partition = swept.partition and state in ('held', 'reconfirmed')
      and deadline_at < clock_timestamp() - make_interval(secs => $2::double precision)
    order by deadline_at desc limit 1
) latest
