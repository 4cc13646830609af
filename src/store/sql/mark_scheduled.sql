-- Records wake-ups that the broker has confirmed.
-- $1 partitions, $2 instants, $3 ends of their hops, side by side
update timers t set scheduled_until = greatest(t.scheduled_until, hop.scheduled_until)
from unnest($1::integer[], $2::timestamptz[], $3::timestamptz[]) as hop (partition, due_at, scheduled_until)
where t.partition = hop.partition and t.due_at = hop.due_at
