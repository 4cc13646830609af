-- $1 worker
delete from workers where id = $1
