-- $1 server, $2 start, $3 end, $4 reason
insert into closures (server_id, start_at, end_at, reason) values ($1, $2, $3, $4)
returning *
