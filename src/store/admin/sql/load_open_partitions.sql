-- One row, once the topology is applied
select open_partitions from topology
