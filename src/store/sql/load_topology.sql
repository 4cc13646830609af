-- One row, or none before the topology is applied
select partitions, delay_levels from topology
