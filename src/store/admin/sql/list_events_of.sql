-- The same, only of a reservation or with one of these ids. $1 to $6 as for all, $7 reservation, $8 ids.
-- A decision's events have the time of its history.
select id, type, routing_key, body, traceparent, tracestate, created_at from outbox_messages
where kind = 'event' and (created_at, id) > ($1, $2::uuid) and created_at < $3
    and (cardinality($4::text[]) = 0 or type = any ($4)) and (must_route or not $5)
    and (id = any ($8::uuid[])
         or created_at in (select at from history where reservation_id = $7)
             and body::jsonb ->> 'subject' = $7::text)
order by created_at, id limit $6
