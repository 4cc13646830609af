-- Inserts charges, and credits, which name their charge. A unique constraint refuses a second one of a
-- kind for the same reservation.
-- $1 ids, $2 charges that are credited or null, $3 reservations, $4 users, $5 servers, $6 seconds,
-- $7 amounts, $8 currencies, $9 tariff versions, side by side, $10 time of decision
insert into billing_entries (id, kind, charge_id, reservation_id, user_id, server_id, seconds,
    amount_minor, currency, tariff_version, created_at)
select id, case when charge_id is null then 'charge' else 'credit' end, charge_id, reservation_id,
    user_id, server_id, seconds, amount_minor, currency, tariff_version, $10::timestamptz
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
    $8::text[], $9::integer[])
    as entry (id, charge_id, reservation_id, user_id, server_id, seconds, amount_minor, currency,
        tariff_version)
