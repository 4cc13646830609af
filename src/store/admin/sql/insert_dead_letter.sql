-- Files a dead letter. One that is filed already has died again, or was taken from its queue twice: it is open
-- again. $1 to $15 columns
insert into dead_letters (id, reason, exact, partition, account, routing_key, message_id, type, content_type,
    content_encoding, forbidden, traceparent, tracestate, died_at, body)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, coalesce($14, clock_timestamp()), $15)
on conflict (id) do update set reason = excluded.reason, died_at = excluded.died_at, state = 'open',
    closed_at = null, times = dead_letters.times + 1
