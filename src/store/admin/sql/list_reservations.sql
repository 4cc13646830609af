-- A page of reservations by start, of one server or of all: of each server the first ones, by its indexes of
-- live and of cancelled reservations. Other nulls match all.
-- $1 server or null, $2 states, $3 and $4 the window, $5 and $6 start and id of the last reservation of the
-- previous page, $7 most rows
with unsettled as materialized (
    -- None starts before its deadline, so none before the oldest.
    select coalesce(min(first.deadline_at), 'infinity') as from_at
    from generate_series(0, 255) as partitions (partition)
    cross join lateral (select deadline_at from reservations
                        where partition = partitions.partition and state in ('held', 'reconfirmed')
                        order by deadline_at limit 1) first
)
select r.* from servers s cross join lateral (
    (select * from reservations
     where server_id = s.id and state <> 'cancelled' and state = any ($2::text[])
       and start_at >= coalesce(greatest($5::timestamptz, $3::timestamptz - make_interval(secs => s.busy_max_seconds),
           case when 'confirmed' <> all ($2) then (select from_at from unsettled) end), '-infinity')
       and start_at < coalesce($4::timestamptz, 'infinity') and ($3 is null or end_at > $3)
       and ($5 is null or (start_at, id) > ($5, $6::uuid))
     order by start_at, id limit $7)
    union all
    (select * from reservations
     where server_id = s.id and state = 'cancelled' and 'cancelled' = any ($2)
       -- The longest that any can be: busy_max_seconds is that of live ones.
       and start_at >= coalesce(greatest($5, $3 - interval '744 hours'), '-infinity')
       and start_at < coalesce($4, 'infinity') and ($3 is null or end_at > $3)
       and ($5 is null or (start_at, id) > ($5, $6))
     order by start_at, id limit $7)) r
where $1::text is null or s.id = $1
order by r.start_at, r.id limit $7
