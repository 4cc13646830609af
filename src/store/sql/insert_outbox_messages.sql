-- Stores events and notices, with a pointer to each for the relay, which leaves them for $8 seconds to
-- the worker that wrote them. Returns the pointers.
-- $1 to $6 one array per column, side by side, $7 time of decision
with stored as (
    insert into outbox_messages (id, kind, type, routing_key, must_route, body, created_at)
    select *, $7::timestamptz
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[])
    returning id
)
insert into outbox (outbox_message_id, retry_at)
select id, clock_timestamp() + make_interval(secs => $8::double precision) from stored
returning seq, outbox_message_id
