-- Not delivered: tried again later, doubling from one second to about a minute.
update outbox set attempts = attempts + 1,
    retry_at = clock_timestamp() + make_interval(secs => power(2, least(attempts, 6)))
where seq = any ($1::bigint[])
