-- Records a heartbeat; returns this worker, the live others and the shared settings.
-- $1 id, $2 host, $3 pid, $4 partitions it consumes, $5 seconds of silence after which a worker is dead.
-- $6 address of its HTTP endpoint, null: none
-- A heartbeat that far in the future is also dead: this clock was set back.
with beat as (
    insert into workers (id, host, pid, partitions, http_address) values ($1, $2, $3, $4, $6)
    on conflict (id) do update
        set heartbeat_at = clock_timestamp(), partitions = excluded.partitions, http_address = excluded.http_address
    returning id, http_address, (xmax = 0) as joined
)
select live.id, live.joined, live.http_address is not null as has_endpoint,
    policy.terminal_rate_max, policy.query_rate_max, topology.partitions
from (
    select id, joined, http_address from beat
    union
    select id, false, http_address from workers
    where abs(extract(epoch from clock_timestamp() - heartbeat_at)) < $5::double precision
      and id <> $1) live
cross join policy cross join topology
order by live.id
