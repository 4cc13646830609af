-- The users who request something, with their holds. Not locked: the guard judges again what is accepted,
-- under their lock. $1 their terminals
select u.id, u.holds::bigint as holds, coalesce(u.holds_max, p.holds_default_max)::bigint as holds_max
from users u cross join policy p
where u.id = any (array(select user_id from terminals where id = any ($1::text[])))
