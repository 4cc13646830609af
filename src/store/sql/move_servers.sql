-- Moves servers to their new partitions, with what is unsettled, and returns the instants that need a
-- wake-up there. Also those that have one and are not well ahead: it may be read before the reservations
-- arrive.
-- $1 fences
with moved as (
    delete from moves where fence = any ($1::uuid[]) returning server_id, to_partition
), servers_moved as (
    update servers s set partition = moved.to_partition from moved where s.id = moved.server_id
), reservations_moved as (
    update reservations r set partition = moved.to_partition from moved
    where r.server_id = moved.server_id and r.state in ('held', 'reconfirmed')
    returning r.partition, r.deadline_at, r.remind_at
)
insert into timers (partition, due_at)
select * from (
    select partition, deadline_at as due_at from reservations_moved
    union
    select partition, remind_at from reservations_moved where remind_at is not null) instants
order by partition, due_at
on conflict (partition, due_at) do update set partition = excluded.partition
    where timers.due_at < clock_timestamp() + interval '1 minute' -- longer than a batch may take
returning partition, due_at
