-- $1 to $18 one array per column, side by side, $19 the partition of all
insert into reservations (id, terminal_id, message_id, user_id, server_id, start_at, end_at,
    busy_until, deadline_at, state, price_minor, currency, tariff_version, held_at, settled_at,
    remind_at, traceparent, tracestate, partition)
select *, $19::integer
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
    $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::text[], $11::bigint[],
    $12::text[], $13::integer[], $14::timestamptz[], $15::timestamptz[],
    $16::timestamptz[], $17::text[], $18::text[])
