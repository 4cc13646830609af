-- Changes states. Each row names the state it was decided from; the statement fails unless all
-- reservations are still in it.
-- $1 reservations, $2 states before, $3 states after, $4 reasons, $5 and $6 times, $7 and $8 traces, side
-- by side
with changed as (
    update reservations r
    set state = change.to_state, cancel_reason = change.cancel_reason,
        reconfirmed_at = change.reconfirmed_at, settled_at = change.settled_at,
        traceparent = change.traceparent, tracestate = change.tracestate
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
            $7::text[], $8::text[])
        as change (id, from_state, to_state, cancel_reason, reconfirmed_at, settled_at, traceparent, tracestate)
    where r.id = change.id and r.state = change.from_state
    returning r.id
)
select expect_rows((select count(*) from changed), cardinality($1))
