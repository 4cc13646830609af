-- Locks the users who request something, and reads their holds as they are once locked.
-- $1 their terminals
select u.id, u.holds::bigint as holds, coalesce(u.holds_max, p.holds_default_max)::bigint as holds_max
from users u cross join policy p
where u.id = any (array(select user_id from terminals where id = any ($1::text[])))
order by u.id
for no key update of u
