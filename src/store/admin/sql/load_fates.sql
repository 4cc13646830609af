-- What became of these reservations, those that retention has deleted and that were billed included. $1 ids
select asked.id, r.user_id, r.state, r.reconfirmed_at is not null as reconfirmed,
       e.id is not null as charged
from unnest($1::uuid[]) as asked (id)
left join reservations r on r.id = asked.id
left join billing_entries e on e.reservation_id = asked.id and e.kind = 'charge'
where r.id is not null or e.id is not null
