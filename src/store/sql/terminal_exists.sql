-- $1 terminal
select exists (select from terminals where id = $1)
