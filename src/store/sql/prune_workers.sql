-- Deletes workers that have been silent for $1 seconds.
delete from workers
where heartbeat_at < clock_timestamp() - make_interval(secs => $1::double precision)
