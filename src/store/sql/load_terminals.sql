-- Terminals that sent something. $1 their ids
select id, user_id, enabled from terminals where id = any ($1::text[])
