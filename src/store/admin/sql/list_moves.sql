-- Moves that are not over
select server_id, from_partition, to_partition, fence, phase from moves order by server_id
