-- Deletes the pointers to published messages. $1 places in the outbox
delete from outbox where seq = any ($1::bigint[])
