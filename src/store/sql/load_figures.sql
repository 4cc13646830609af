-- Figures of the whole installation, none of them counted beyond a bound.
-- $1 most rows counted of each, $2 seconds after which a deadline is overdue, $3 seconds of silence after which a
-- worker is dead
with overdue as (
    select late.deadline_at
    from topology, generate_series(0, partitions - 1) as owned (partition)
    cross join lateral (
        select deadline_at from reservations
        where partition = owned.partition and state in ('held', 'reconfirmed')
          and deadline_at < clock_timestamp() - make_interval(secs => $2::double precision)
        order by deadline_at limit $1::bigint) late
    limit $1::bigint
), pending as (
    select is_copy, count(*) as messages, min(seq) as oldest
    from (
        (select false as is_copy, seq from outbox where not is_copy order by retry_at, seq limit $1::bigint)
        union all
        (select true, seq from outbox where is_copy order by retry_at, seq limit $1::bigint)) bounded
    group by is_copy
), aged as (
    select pending.is_copy, messages, greatest(0, extract(epoch from clock_timestamp() - message.created_at)) as seconds
    from pending
    join outbox on seq = oldest
    left join outbox_messages message on message.id = outbox_message_id
)
select
    (select count(*) from workers
     where abs(extract(epoch from clock_timestamp() - heartbeat_at)) < $3::double precision) as workers,
    (select count(*) from overdue) as overdue,
    coalesce((select extract(epoch from clock_timestamp() - min(deadline_at)) from overdue), 0)::double precision
        as overdue_seconds,
    (select count(*) from (select from timers where scheduled_until is null
                           order by created_at limit $1::bigint) waiting)
        as timers_waiting,
    (select count(*) from (select from timers where scheduled_until is not null
                           order by partition, due_at limit $1::bigint) sent)
        as timers_sent,
    coalesce((select messages from aged where not is_copy), 0) as outbox_messages,
    coalesce((select seconds from aged where not is_copy), 0)::double precision as outbox_seconds,
    coalesce((select messages from aged where is_copy), 0) as outbox_copies,
    coalesce((select seconds from aged where is_copy), 0)::double precision as copies_seconds,
    (select count(*) from pauses) as pauses,
    coalesce((select greatest(0, extract(epoch from clock_timestamp() - min(paused_at))) from pauses), 0)::double precision
        as pause_seconds,
    (select count(*) from (select from dead_letters where state in ('open', 'replaying') limit $1::bigint) filed)
        as filed_letters
