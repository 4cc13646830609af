-- Claims the partitions whose sweep is due, so that each is swept once per interval over all replicas.
-- $1 interval in seconds
insert into sweeps (partition, swept_at)
select partition, clock_timestamp() from generate_series(0, (select partitions - 1 from topology)) as partition
on conflict (partition) do update set swept_at = excluded.swept_at
    where sweeps.swept_at < clock_timestamp() - make_interval(secs => $1::double precision)
       or sweeps.swept_at > clock_timestamp() -- the clock was set back
returning partition
