-- The terminals that sent a command. $1 ids
select id, user_id, enabled from terminals where id = any ($1::text[])
