-- Locks all users whose use a batch changes, before its first write: the guard locks for one statement
-- at a time. $1 users
select from users where id = any ($1::text[]) order by id for no key update
