-- Live reservations of a server that a window touches, by start. $1 server, $2 start, $3 end
select id, user_id, state, start_at, end_at from reservations
where server_id = $1 and state <> 'cancelled' and start_at < $3 and end_at > $2
order by start_at, id
