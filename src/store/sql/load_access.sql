-- Of which the keys of reservations are derived. $1 reservations
select reservation_id, epoch, secret_id from access where reservation_id = any ($1::uuid[])
