-- Locks users in the global order, before their use is written. $1 users
select from users where id = any ($1::text[]) order by id for no key update
