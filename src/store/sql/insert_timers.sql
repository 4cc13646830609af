-- Instants that need a wake-up. Returns the new ones, which the caller arms; one that stays unscheduled
-- is found by the sweep.
-- $1 partition, $2 instants
insert into timers (partition, due_at)
select $1::integer, due_at from unnest($2::timestamptz[]) as due_at order by due_at
on conflict (partition, due_at) do nothing
returning due_at
