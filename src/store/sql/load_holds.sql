-- How many holds each requesting user has and may have. $1 their terminals
select u.id, coalesce(u.holds_max, p.holds_default_max)::bigint as holds_max,
       (select count(*) from reservations r where r.user_id = u.id and r.state = 'held') as holds
from users u cross join policy p
where u.id in (select user_id from terminals where id = any ($1::text[]))
