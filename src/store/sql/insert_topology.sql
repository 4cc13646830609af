-- Records the topology unless one is recorded. $1 partitions, $2 levels of the delay ladder
insert into topology (partitions, delay_levels) values ($1, $2) on conflict do nothing
