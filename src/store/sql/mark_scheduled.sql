-- Records wake-ups that the broker has confirmed.
-- $1 partition, $2 instants, $3 ends of their hops, side by side
update timers t set scheduled_until = greatest(t.scheduled_until, hop.scheduled_until)
from unnest($2::timestamptz[], $3::timestamptz[]) as hop (due_at, scheduled_until)
where t.partition = $1 and t.due_at = hop.due_at
