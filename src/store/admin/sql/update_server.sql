-- Null leaves a setting as it is; an empty view URL and 0 viewers mean none.
-- $1 server, $2 to $16 the settings in this order
update servers set capacity = coalesce($2, capacity),
    rate_minor = coalesce($3, rate_minor), currency = coalesce($4, currency),
    slot_seconds = coalesce($5, slot_seconds), min_seconds = coalesce($6, min_seconds),
    max_seconds = coalesce($7, max_seconds), gap_seconds = coalesce($8, gap_seconds),
    lead_seconds = coalesce($9, lead_seconds),
    horizon_seconds = coalesce($10, horizon_seconds),
    late_booking = coalesce($11, late_booking),
    connection_url = coalesce($12, connection_url),
    reminder_seconds = coalesce($13, reminder_seconds),
    view_url = nullif(coalesce($14, view_url), ''),
    viewers_max = nullif(coalesce($15, viewers_max), 0),
    early_seconds = coalesce($16, early_seconds)
where id = $1 returning tariff_version
