-- $1 number of partitions that take new servers
update topology set open_partitions = $1
