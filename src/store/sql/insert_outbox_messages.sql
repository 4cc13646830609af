-- Stores events and notices, with their pointers: of every event a copy for the exchange of all events, for
-- which relays look at once; and of bills and notices one that is left for $10 seconds to the worker that wrote
-- them. Returns the latter.
-- $1 to $8 one array per column, side by side, $9 time of decision
with stored as (
    insert into outbox_messages (id, kind, type, routing_key, must_route, body, traceparent, tracestate,
        created_at)
    select *, $9::timestamptz
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[],
        $8::text[])
    returning id, kind, must_route
), copies as (
    insert into outbox (outbox_message_id, is_copy, retry_at)
    select id, true, clock_timestamp() from stored where kind = 'event'
)
insert into outbox (outbox_message_id, retry_at)
select id, clock_timestamp() + make_interval(secs => $10::double precision) from stored
where kind = 'notice' or must_route
returning seq, outbox_message_id
