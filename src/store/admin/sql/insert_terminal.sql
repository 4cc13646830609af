-- $1 terminal, $2 user
insert into terminals (id, user_id) values ($1, $2) on conflict (id) do nothing
