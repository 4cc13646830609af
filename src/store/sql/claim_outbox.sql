-- Announcements to publish now; other relays skip them while this transaction holds them.
select o.seq, a.id, a.kind, a.type, a.routing_key, a.must_route, a.body
from outbox o join outbox_messages a on a.id = o.message_id
where o.retry_at <= clock_timestamp()
-- New ones first, in order; what was postponed is not walked over.
order by o.retry_at, o.seq limit $1::bigint
for update of o skip locked
