-- Live workers that consume, or are about to let go of, one of the partitions. $1 partitions, $2 seconds of
-- silence after which a worker is dead
select w.host, w.pid, partition
from workers w cross join lateral unnest(w.partitions) as partition
where partition = any ($1::integer[])
  and abs(extract(epoch from clock_timestamp() - w.heartbeat_at)) < $2::double precision
order by partition, w.id
