-- Locks the users who request something. $1 their terminals
select id from users
where id in (select user_id from terminals where id = any ($1::text[]))
order by id
for no key update
