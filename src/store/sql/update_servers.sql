-- Sets the partition of servers whose first request is accepted. $1 partition, $2 servers
update servers set partition = $1 where id = any ($2::text[]) and partition is null
