-- A reservation's charge, then its credit. $1 reservation
select * from billing_entries where reservation_id = $1
order by created_at, kind
