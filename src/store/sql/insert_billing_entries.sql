-- Charges, and credits that name theirs; a second one of a reservation violates a unique constraint.
insert into billing_entries (id, kind, charge_id, reservation_id, user_id, server_id, seconds,
    amount_minor, currency, created_at)
select id, case when charge_id is null then 'charge' else 'credit' end, charge_id, reservation_id,
    user_id, server_id, seconds, amount_minor, currency, $9::timestamptz
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
    $8::text[])
    as entry (id, charge_id, reservation_id, user_id, server_id, seconds, amount_minor, currency)
