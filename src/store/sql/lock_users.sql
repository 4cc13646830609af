-- Locks the users of a batch and reads their holds as they are once locked.
-- $1 terminals that request something, $2 users whose use the batch changes
select u.id, u.holds::bigint as holds, coalesce(u.holds_max, p.holds_default_max)::bigint as holds_max
from users u cross join policy p
where u.id = any (array(select user_id from terminals where id = any ($1::text[])) || $2::text[])
order by u.id
for no key update of u
