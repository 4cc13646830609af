-- Events and notices, and a pointer to each for the relay, which leaves them to whoever wrote them for
-- $8 seconds. Returns the pointers.
with announced as (
    insert into outbox_messages (id, kind, type, routing_key, must_route, body, created_at)
    select *, $7::timestamptz
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[])
    returning id
)
insert into outbox (message_id, retry_at)
select id, clock_timestamp() + make_interval(secs => $8::double precision) from announced
returning seq, message_id
