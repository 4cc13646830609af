-- Stored answers to commands that were decided before. $1 terminals, $2 message ids, side by side
select r.terminal_id, r.message_id, r.digest, r.answer_type, r.answer
from unnest($1::text[], $2::text[]) as asked (terminal_id, message_id)
-- offset 0 keeps this one look-up per id, whatever the planner estimates.
cross join lateral (
    select * from processed_commands
    where terminal_id = asked.terminal_id and message_id = asked.message_id
    offset 0) r
