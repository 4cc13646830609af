-- What a gate of this server lets in, and the time at which that was so: before the rows were read.
select reservation_id, start_at, end_at, state, key_hash, capacity, viewers_max, early_seconds, gap_seconds
from admissions
where server_id = $1
