-- Records a heartbeat; returns this worker, the live others and the shared settings.
-- $1 id, $2 host, $3 pid, $4 partitions it consumes, $5 seconds of silence after which a worker is dead,
-- $6 version, $7 messages decided since it started, $8 per second lately, $9 its own clock.
-- A heartbeat that far in the future is also dead: this clock was set back.
with beat as (
    insert into workers (id, host, pid, partitions, version, decided, decided_per_second, clock_ahead_seconds)
    values ($1, $2, $3, $4, $6, $7, $8, extract(epoch from $9::timestamptz - clock_timestamp()))
    on conflict (id) do update
        set heartbeat_at = clock_timestamp(), partitions = excluded.partitions, decided = excluded.decided,
            decided_per_second = excluded.decided_per_second, clock_ahead_seconds = excluded.clock_ahead_seconds
    returning id, (xmax = 0) as joined
)
select live.id, live.joined, policy.terminal_rate_max, policy.query_rate_max, topology.partitions,
    (select coalesce(array_agg(scope), '{}') from pauses) as paused
from (
    select id, joined from beat
    union
    select id, false from workers
    where abs(extract(epoch from clock_timestamp() - heartbeat_at)) < $5::double precision
      and id <> $1) live
cross join policy cross join topology
order by live.id
