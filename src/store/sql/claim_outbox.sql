-- Locks bills and notices to publish now; other relays skip them while this transaction holds them.
-- $1 most messages
select o.seq, m.id, m.kind, m.type, m.routing_key, m.body, m.traceparent, m.tracestate
from outbox o join outbox_messages m on m.id = o.outbox_message_id
where not o.is_copy and o.retry_at <= clock_timestamp()
-- New messages first, in order. This order follows the index, so postponed ones are not read.
order by o.retry_at, o.seq limit $1::bigint
for update of o skip locked
