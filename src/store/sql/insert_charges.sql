-- One charge per confirmed reservation; a second one violates a unique constraint.
insert into billing_entries (id, kind, reservation_id, user_id, server_id, seconds, amount_minor,
    currency, created_at)
select id, 'charge', reservation_id, user_id, server_id, seconds, amount_minor, currency, $8::timestamptz
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[])
    as charge (id, reservation_id, user_id, server_id, seconds, amount_minor, currency)
