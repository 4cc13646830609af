-- Servers that queries name. Not locked, since nothing is decided from them. $1 ids
select id, capacity, open, rate_minor, currency, tariff_version, slot_seconds, min_seconds,
       max_seconds, gap_seconds, lead_seconds, horizon_seconds, reminder_seconds, late_booking,
       connection_url, view_url, partition
from servers where id = any ($1::text[])
