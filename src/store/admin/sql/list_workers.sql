-- Workers and what they last told, the longest silent live ones first, then the dead, the latest first.
-- $1 seconds of silence after which a worker is dead, $2 most rows
select id, host, pid, version, started_at, heartbeat_at, partitions, decided, decided_per_second,
       clock_ahead_seconds, silent_seconds, abs(silent_seconds) < $1 as live
from workers cross join lateral
    (select extract(epoch from clock_timestamp() - heartbeat_at)::double precision as silent_seconds) s
order by abs(silent_seconds) < $1 desc, case when abs(silent_seconds) < $1 then -silent_seconds else silent_seconds end
limit $2
