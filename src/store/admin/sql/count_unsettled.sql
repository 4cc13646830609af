-- $1 server
select count(*) from reservations where server_id = $1 and state in ('held', 'reconfirmed')
