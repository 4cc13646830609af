-- Delivered.
delete from outbox where seq = any ($1::bigint[])
