-- Deletes attempts at messages that are long gone. $1 most rows
delete from delivery_attempts where ctid = any (array(
    select ctid from delivery_attempts where seen_at < (select retention_time() - interval '7 days')
    limit $1::bigint for update skip locked))
