-- Claims the partitions whose sweep is due, so that each is swept once per interval over all replicas. A
-- paused partition's queue keeps the wake-ups that it got, so only what has become overdue since its last
-- sweep needs another: `since`. $1 interval in seconds
with last as (select partition, swept_at from sweeps),
claimed as (
    insert into sweeps (partition, swept_at)
    select partition, clock_timestamp() from generate_series(0, (select partitions - 1 from topology)) as partition
    on conflict (partition) do update set swept_at = excluded.swept_at
        where sweeps.swept_at < clock_timestamp() - make_interval(secs => $1::double precision)
           or sweeps.swept_at > clock_timestamp() -- the clock was set back
    returning partition
)
select c.partition, case when p.scope is null then 'epoch' else coalesce(l.swept_at, 'epoch') end as since
from claimed c
left join last l on l.partition = c.partition
left join lateral (select scope from pauses where scope in ('all', c.partition::text) limit 1) p on true
