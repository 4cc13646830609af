-- Locks and reads the reservations that commands name and those that a wake-up settles or reminds of.
-- Due reservations are picked unlocked. The returned rows are as they are once locked, so the caller
-- checks their state again. While a server leaves the partition, its reservations are not due here: their
-- reconfirmations may stand in the new partition's queue.
-- $1 named reservations, $2 partition, $3 instant of the latest due wake-up or null,
-- $4 most reservations that one batch settles, and most that it reminds of
with picked as materialized (
    select id, deadline_at from reservations
    where partition = $2 and state in ('held', 'reconfirmed') and deadline_at <= $3::timestamptz
      and server_id not in (select server_id from moves where phase <> 'binding')
    order by deadline_at, id limit $4::bigint
), reminded as materialized (
    -- Past its deadline a reservation is settled; no reminder is due.
    select id, remind_at from reservations
    where partition = $2 and state = 'held' and remind_at <= $3::timestamptz
      and deadline_at > clock_timestamp()
    order by remind_at, id limit $4::bigint
), wanted as (
    select unnest($1::uuid[]) as id
    union
    select id from picked
    union
    select id from reminded
)
select r.id, r.terminal_id, r.message_id, r.user_id, r.server_id, r.start_at, r.end_at,
       r.busy_until, r.deadline_at, r.remind_at, r.reminded_at, r.state, r.cancel_reason,
       r.price_minor, r.currency, r.tariff_version, r.held_at, r.reconfirmed_at, r.settled_at,
       r.partition, r.traceparent, r.tracestate,
       (select count(*) from picked) as picked_count,
       (select max(deadline_at) from picked) as picked_until,
       (select count(*) from reminded) as reminded_count,
       (select max(remind_at) from reminded) as reminded_until
from reservations r
-- An array keeps this a look-up by id, whatever the planner estimates.
where r.id = any (array(select id from wanted))
order by r.id
for no key update of r
