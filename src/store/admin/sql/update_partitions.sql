-- $1 partitions, all of which take new servers
update topology set partitions = $1, open_partitions = $1, applied_at = clock_timestamp()
