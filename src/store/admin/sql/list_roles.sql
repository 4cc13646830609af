-- Database accounts that were made, and their open sessions
select r.name, r.kind, r.created_at, p.rolname is not null as exists,
    (select count(*) from pg_stat_activity a where a.usename = r.name) as sessions
from database_roles r left join pg_roles p on p.rolname = r.name
order by r.kind, r.name
