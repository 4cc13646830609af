-- Their terminals are being reminded. $1 reservations, $2 now
update reservations set remind_at = null, reminded_at = $2 where id = any ($1::uuid[])
