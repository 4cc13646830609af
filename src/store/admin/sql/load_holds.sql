-- $1 users
select id, holds from users where id = any ($1::text[])
