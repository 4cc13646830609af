-- Null leaves a setting as it is. $1 server, $2 to $13 the settings in this order
update servers set capacity = coalesce($2, capacity),
    rate_minor = coalesce($3, rate_minor), currency = coalesce($4, currency),
    slot_seconds = coalesce($5, slot_seconds), min_seconds = coalesce($6, min_seconds),
    max_seconds = coalesce($7, max_seconds), gap_seconds = coalesce($8, gap_seconds),
    lead_seconds = coalesce($9, lead_seconds),
    horizon_seconds = coalesce($10, horizon_seconds),
    late_booking = coalesce($11, late_booking),
    connection_url = coalesce($12, connection_url),
    reminder_seconds = coalesce($13, reminder_seconds)
where id = $1 returning tariff_version
