-- Says that this worker lives and tells who else does, and what they all go by. $1 id, $2 host, $3 pid,
-- $4 partitions it consumes, $5 seconds after which a silent worker counts as dead,
-- as one does whose last beat lies so far ahead, since this clock was set back
with beat as (
    insert into workers (id, host, pid, partitions) values ($1, $2, $3, $4)
    on conflict (id) do update
        set heartbeat_at = clock_timestamp(), partitions = excluded.partitions
    returning id, (xmax = 0) as joined
)
select id, joined, (select terminal_rate_max from policy) as terminal_rate_max from beat
union
select id, false, (select terminal_rate_max from policy) from workers
where abs(extract(epoch from clock_timestamp() - heartbeat_at)) < $5::double precision
  and id <> $1
order by id
