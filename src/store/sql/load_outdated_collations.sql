-- Indexes over text that follow a collation which has changed since they were built. None of Holdfast's follows
-- one, unless somebody made its columns by other means.
select i.indrelid::regclass::text as of_table, i.indexrelid::regclass::text as index_name,
       coalesce(min(c.collname::text) filter (where c.oid <> 100), 'default') as collation_name
from pg_index i
cross join lateral unnest(i.indcollation) as used (collation_id)
join pg_collation c on c.oid = used.collation_id
join pg_database d on d.datname = current_database()
join pg_class k on k.oid = i.indrelid and k.relnamespace = 'public'::regnamespace
where case when c.collprovider = 'd'
           then d.datcollversion is distinct from pg_database_collation_actual_version(d.oid)
           else c.collversion is distinct from pg_collation_actual_version(c.oid) end
group by i.indrelid, i.indexrelid
order by 1, 2
