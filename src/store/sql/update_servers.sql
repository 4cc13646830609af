-- The partition of servers that had their first request accepted. $1 partition, $2 servers
update servers set partition = $1 where id = any ($2::text[]) and partition is null
