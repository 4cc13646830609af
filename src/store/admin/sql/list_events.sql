-- A page of events in the order in which they were decided. $1 and $2 time and id of the one before the first,
-- $3 first instant after, $4 types, none for all, $5 whether bills only, $6 most rows
select id, type, routing_key, body, traceparent, tracestate, created_at from outbox_messages
where kind = 'event' and (created_at, id) > ($1, $2::uuid) and created_at >= $1 and created_at < $3
    and (cardinality($4::text[]) = 0 or type = any ($4)) and (must_route or not $5)
order by created_at, id limit $6
