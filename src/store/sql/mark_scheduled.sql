-- The broker has confirmed wake-ups. $1 partition, $2 instants, $3 ends of their legs, side by side
update timers w set scheduled_until = greatest(w.scheduled_until, armed.scheduled_until)
from unnest($2::timestamptz[], $3::timestamptz[]) as armed (due_at, scheduled_until)
where w.partition = $1 and w.due_at = armed.due_at
