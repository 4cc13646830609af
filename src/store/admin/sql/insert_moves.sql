-- $1 servers, $2 the partitions that they go to, side by side
insert into moves (server_id, from_partition, to_partition, fence)
select s.id, s.partition, wanted.to_partition, gen_random_uuid()
from unnest($1::text[], $2::integer[]) as wanted (server_id, to_partition)
join servers s on s.id = wanted.server_id and s.partition <> wanted.to_partition
where wanted.to_partition < (select partitions from topology)
  and s.partition not in (select to_partition from moves union all select unnest($2::integer[]))
  and wanted.to_partition not in (select from_partition from moves)
on conflict do nothing
returning server_id, from_partition, to_partition, fence, phase
