-- The broker has confirmed wake-ups. $1 partition, $2 instants, $3 ends of their legs, side by side
update wake_ups w set armed_until = greatest(w.armed_until, armed.armed_until)
from unnest($2::timestamptz[], $3::timestamptz[]) as armed (due_at, armed_until)
where w.partition = $1 and w.due_at = armed.due_at
