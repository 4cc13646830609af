-- The latest overdue instant of each swept partition, from the reservations themselves. One wake-up for
-- it, at the tail of the queue, settles and reminds of everything due at or before it.
-- $1 partitions, $2 grace in seconds, $3 for each partition the time until which overdue instants are known
select swept.partition, latest.due_at, clock_timestamp() as now
from unnest($1::integer[], $3::timestamptz[]) as swept (partition, since)
cross join lateral (
    select max(due_at) as due_at from (
        (select deadline_at as due_at from reservations
         where partition = swept.partition and state in ('held', 'reconfirmed')
           and deadline_at < clock_timestamp() - make_interval(secs => $2::double precision)
         order by deadline_at desc limit 1)
        union all
        (select remind_at from reservations
         where partition = swept.partition and state = 'held' and deadline_at > clock_timestamp()
           and remind_at < clock_timestamp() - make_interval(secs => $2::double precision)
         order by remind_at desc limit 1)) overdue
) latest
where latest.due_at is not null
  and latest.due_at >= swept.since - make_interval(secs => $2::double precision)
