-- Locks the servers of a batch in the global order and reads them as they are once locked.
-- $1 servers named by commands, $2 reservations named by commands, $3 partition,
-- $4 instant of the latest due wake-up or null, $5 most reservations that one batch settles
with wanted as (
    select unnest($1::text[]) as id
    union
    select server_id from reservations where id = any ($2::uuid[])
    union
    select server_id from (
        select server_id from reservations
        where partition = $3 and state in ('held', 'reconfirmed') and deadline_at <= $4::timestamptz
          and server_id not in (select server_id from moves where phase <> 'binding')
        order by deadline_at, id limit $5::bigint) due
)
select s.id, s.capacity, s.open, s.rate_minor, s.currency, s.tariff_version, s.slot_seconds,
       s.min_seconds, s.max_seconds, s.gap_seconds, s.lead_seconds, s.horizon_seconds,
       s.reminder_seconds, s.late_booking, s.connection_url, s.view_url, s.partition,
       m.fence, m.to_partition, m.phase
from servers s
left join moves m on m.server_id = s.id
-- An array keeps this a look-up by id, whatever the planner estimates.
where s.id = any (array(select id from wanted))
order by s.id
for no key update of s
