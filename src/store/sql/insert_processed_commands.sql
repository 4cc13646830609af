-- Stores decided commands with their answers, sorted by key, so that two batches that share ids cannot
-- deadlock. A duplicate key is an error: the batch is then decided again and finds the stored answer.
-- $1 to $10 one array per column, side by side; $10 places within the batch's block of the decision order;
-- $11 time of decision
insert into processed_commands (terminal_id, message_id, kind, digest, outcome, answer_type, answer,
    server_id, reservation_id, seq, decided_at)
select terminal_id, message_id, kind, digest, outcome, answer_type, answer, server_id, reservation_id,
    (currval('decision_block') << 16) + place, $11::timestamptz
from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::uuid[], $10::bigint[])
    as entry (terminal_id, message_id, kind, digest, outcome, answer_type, answer, server_id,
        reservation_id, place)
