-- One row; the topology's columns are null before it is applied.
select clock_timestamp() as now, current_setting('server_version') as server_version,
       current_setting('server_version_num')::integer as server_version_number,
       (select max(version)::integer from schema_migrations) as schema_version,
       t.partitions, t.open_partitions, t.delay_levels, t.applied_at
from (select) one left join topology t on true
