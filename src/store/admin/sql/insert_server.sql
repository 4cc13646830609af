-- Adds a server to the partition $14 or, if that is null, to the one with the fewest servers.
-- $1 to $13 and $15 to $17 the other columns in this order
insert into servers (id, capacity, rate_minor, currency, slot_seconds, min_seconds,
    max_seconds, gap_seconds, lead_seconds, horizon_seconds, late_booking, connection_url,
    reminder_seconds, partition, view_url, viewers_max, early_seconds)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
    coalesce($14::integer, (
        select p.partition from topology t
        cross join lateral generate_series(0, t.open_partitions - 1) as p (partition)
        order by (select count(*) from servers s where s.partition = p.partition), p.partition limit 1)),
    $15, $16, $17)
on conflict (id) do nothing
returning partition
