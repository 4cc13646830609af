-- Records changes of reservations, in decision order.
-- $1 to $13 one array per column, side by side; $1 places within the batch's block; $14 time of decision
insert into history (seq, reservation_id, from_state, to_state, reason, actor, actor_id, trigger,
    message_id, lateness_ms, server_id, note, traceparent, at)
select (currval('decision_block') << 16) + place, reservation_id, from_state, to_state, reason, actor,
    actor_id, trigger, message_id, lateness_ms, server_id, note, traceparent, $14::timestamptz
from unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::bigint[], $11::text[], $12::text[], $13::text[])
    as entry (place, reservation_id, from_state, to_state, reason, actor, actor_id, trigger, message_id,
        lateness_ms, server_id, note, traceparent)
