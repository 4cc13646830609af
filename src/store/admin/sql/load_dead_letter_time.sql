-- $1 id
select died_at from dead_letters where id = $1
