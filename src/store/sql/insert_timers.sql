-- Stores timers and returns the new ones, for which the caller schedules wake-ups. The sweep finds those
-- that stay unscheduled.
-- $1 partition, $2 instants
insert into timers (partition, due_at)
select $1::integer, due_at from unnest($2::timestamptz[]) as due_at order by due_at
on conflict (partition, due_at) do nothing
returning partition, due_at
