-- Marks reservations whose reminder is sent with this transaction. $1 reservations, $2 now
update reservations set remind_at = null, reminded_at = $2 where id = any ($1::uuid[])
