-- Counts a try of the copies of events to publish now, and leaves them to this relay for $2 seconds. Counted
-- before: a try whose outcome stays unknown is one, too. $1 most messages
update outbox o set attempts = o.attempts + 1,
    retry_at = clock_timestamp() + make_interval(secs => $2::double precision)
from outbox_messages m
where m.id = o.outbox_message_id and o.seq = any (array(
    select seq from outbox
    where is_copy and retry_at <= clock_timestamp()
    order by retry_at, seq limit $1::bigint
    for update skip locked))
returning o.seq, o.attempts, m.id, m.kind, m.type, m.routing_key, m.body, m.traceparent, m.tracestate
