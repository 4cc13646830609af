-- Stores the hashes of keys that were rotated and that a worker has derived, unless another worker was first.
-- Returns the servers concerned.
-- $1 reservations, $2 epochs, $3 hashes, side by side, $4 secret
update access a set secret_id = $4::text, key_hash = key.hash, changed_at = clock_timestamp()
from unnest($1::uuid[], $2::integer[], $3::bytea[]) as key (id, epoch, hash)
where a.reservation_id = key.id and a.epoch = key.epoch and a.secret_id is null
returning a.server_id
