-- $1 user
select exists (select from users where id = $1)
