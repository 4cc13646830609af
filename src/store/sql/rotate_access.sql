-- Ends the keys of reservations at once: their hashes become those of nothing, until a worker has derived the
-- next ones. A reservation that was confirmed without a key gets its first one.
-- $1 reservations, $2 first epoch
insert into access (reservation_id, server_id, epoch, secret_id, key_hash, changed_at, close_at)
select r.id, r.server_id, $2::integer, null, sha256(uuid_send(gen_random_uuid())), clock_timestamp(),
       r.end_at + interval '60 s'
from reservations r where r.id = any ($1::uuid[])
order by r.id
on conflict (reservation_id) do update set epoch = access.epoch + 1, secret_id = null,
    key_hash = excluded.key_hash, changed_at = excluded.changed_at
