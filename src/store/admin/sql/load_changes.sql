-- The latest changes of objects, newest first. $1 kinds, $2 ids, side by side, $3 most rows
select id, at, operator, database_role, kind, object_id, action, before, after, why
from audit
where (kind, object_id) in (select * from unnest($1::text[], $2::text[]))
order by id desc
limit $3
