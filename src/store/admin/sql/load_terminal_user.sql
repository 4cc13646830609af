-- $1 terminal
select user_id from terminals where id = $1
