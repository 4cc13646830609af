-- Instants that need a wake-up. Returns those that have none in the broker yet: a row of somebody
-- else that is not armed either is armed twice rather than not at all.
-- $1 partition, $2 instants
insert into wake_ups (partition, due_at)
select $1::integer, due_at from unnest($2::timestamptz[]) as due_at order by due_at
on conflict (partition, due_at) do update set due_at = excluded.due_at
    where wake_ups.armed_until is null
returning due_at
