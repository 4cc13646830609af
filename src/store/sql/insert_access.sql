-- Stores the hashes of the keys of what this transaction has confirmed. The use is recorded a minute after the
-- end: what gates saw has arrived by then.
-- $1 reservations, $2 hashes, side by side, $3 secret, $4 first epoch
insert into access (reservation_id, server_id, epoch, secret_id, key_hash, changed_at, close_at)
select r.id, r.server_id, $4::integer, $3::text, key.hash, clock_timestamp(), r.end_at + interval '60 s'
from unnest($1::uuid[], $2::bytea[]) as key (id, hash)
join reservations r on r.id = key.id
order by r.id
