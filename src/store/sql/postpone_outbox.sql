-- Postpones messages that were not delivered, by one second, doubling up to about a minute.
-- $1 places in the outbox
update outbox set attempts = attempts + 1,
    retry_at = clock_timestamp() + make_interval(secs => power(2, least(attempts, 6)))
where seq = any ($1::bigint[])
