-- Deletes workers that have been silent for $1 seconds, and those whose last heartbeat is that far in the
-- future: the clock was set back. A live one enters itself again with its next heartbeat.
delete from workers
where heartbeat_at < (select retention_time() - make_interval(secs => $1::double precision))
   or heartbeat_at > clock_timestamp() + make_interval(secs => $1::double precision)
