-- $1 to $13 the columns in this order
insert into servers (id, capacity, rate_minor, currency, slot_seconds, min_seconds,
    max_seconds, gap_seconds, lead_seconds, horizon_seconds, late_booking, connection_url,
    reminder_seconds)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
on conflict (id) do nothing
