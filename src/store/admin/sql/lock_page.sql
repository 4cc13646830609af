-- Locks the next users that a count comes to, as the guard does: nobody changes their reservations meanwhile.
-- $1 the last user counted, $2 most users
select id from users where id > $1 order by id limit $2 for no key update
