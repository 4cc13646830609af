-- Records a heartbeat; returns this worker, the live others and the shared settings.
-- $1 id, $2 host, $3 pid, $4 partitions it consumes, $5 seconds of silence after which a worker is dead,
-- $6 version, $7 messages decided since it started, $8 per second lately, $9 its own clock,
-- $10 address of its HTTP endpoint, null: none.
-- A heartbeat that far in the future is also dead: this clock was set back.
with beat as (
    insert into workers (id, host, pid, partitions, version, decided, decided_per_second, clock_ahead_seconds,
            http_address)
    values ($1, $2, $3, $4, $6, $7, $8, extract(epoch from $9::timestamptz - clock_timestamp()), $10)
    on conflict (id) do update
        set heartbeat_at = clock_timestamp(), partitions = excluded.partitions, decided = excluded.decided,
            decided_per_second = excluded.decided_per_second, clock_ahead_seconds = excluded.clock_ahead_seconds,
            http_address = excluded.http_address
    returning id, http_address, (xmax = 0) as joined
)
select live.id, live.joined, live.http_address is not null as has_endpoint,
    policy.terminal_rate_max, policy.query_rate_max, topology.partitions,
    paused.scopes, paused.reasons, paused.since
from (
    select id, joined, http_address from beat
    union
    select id, false, http_address from workers
    where abs(extract(epoch from clock_timestamp() - heartbeat_at)) < $5::double precision
      and id <> $1) live
cross join policy cross join topology
cross join (
    -- That of all partitions first
    select coalesce(array_agg(scope order by scope <> 'all', length(scope), scope), '{}') as scopes,
        coalesce(array_agg(why order by scope <> 'all', length(scope), scope), '{}') as reasons,
        coalesce(array_agg(paused_at order by scope <> 'all', length(scope), scope), '{}') as since
    from pauses) paused
order by live.id
