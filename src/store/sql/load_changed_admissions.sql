-- The same, as far as it has changed lately. Transactions commit in another order than that of their changes,
-- so the time that is read again is longer than a transaction may take.
select reservation_id, start_at, end_at, state, key_hash, capacity, viewers_max, early_seconds, gap_seconds
from admissions
where server_id = $1 and changed_at > now() - interval '1 minute'
