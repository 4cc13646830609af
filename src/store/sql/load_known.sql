-- Message ids that are decided. $1 terminals, $2 message ids, side by side
select r.terminal_id, r.message_id, r.digest, r.answer_type, r.answer
from unnest($1::text[], $2::text[]) as asked (terminal_id, message_id)
join requests r using (terminal_id, message_id)
