-- Timers of swept partitions without a confirmed wake-up.
-- $1 partitions, $2 age in seconds, $3 most rows
select partition, due_at, clock_timestamp() as now
from timers
where scheduled_until is null and partition = any ($1::integer[])
  and (created_at < clock_timestamp() - make_interval(secs => $2::double precision)
       or created_at > clock_timestamp() + make_interval(secs => $2::double precision)) -- it was set back
order by due_at limit $3::bigint
