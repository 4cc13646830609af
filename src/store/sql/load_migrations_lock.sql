-- Who has the turn to migrate, in words. $1 the lock's number. Others' details need pg_read_all_stats
select format('process %s%s%s of account %s%s has it', l.pid,
        coalesce(' "' || nullif(a.application_name, '') || '"', ''),
        coalesce(' at ' || host(a.client_addr), ''),
        coalesce(a.usename, '(unknown)'),
        coalesce(', connected since ' || to_char(a.backend_start, 'YYYY-MM-DD"T"HH24:MI:SSOF'), ''))
from pg_locks l
left join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
    and l.database = (select oid from pg_database where datname = current_database())
    and l.classid = ($1::bigint >> 32)::oid and l.objid = ($1::bigint & 4294967295)::oid
