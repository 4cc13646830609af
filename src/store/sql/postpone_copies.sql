-- Postpones copies that a subscriber's queue refused: by one second after the first try, then by 4 and 16.
-- $1 places in the outbox
update outbox
set retry_at = clock_timestamp() + make_interval(secs => power(4, least(greatest(attempts, 1) - 1, 2)))
where seq = any ($1::bigint[])
