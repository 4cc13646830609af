-- Records the topology unless one is recorded. $1 partitions, $2 levels of the delay ladder
insert into topology (partitions, open_partitions, delay_levels) values ($1, $1, $2) on conflict do nothing
