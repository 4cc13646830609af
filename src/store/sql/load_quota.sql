-- Use of every period that a requested time touches.
-- $1 terminals, $2 starts, $3 ends, side by side
select touched.user_id, touched.period_start, touched.period_end,
       coalesce(u.quota_seconds, p.quota_default_seconds) as limit_seconds,
       reserved_seconds(touched.user_id, touched.period_start, touched.period_end) as used_seconds
from (
    select distinct t.user_id, period.period_start, period.period_end
    from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as asked (terminal_id, start_at, end_at)
    join terminals t on t.id = asked.terminal_id
    cross join lateral quota_periods(asked.start_at, asked.end_at) period
) touched
join users u on u.id = touched.user_id
cross join policy p
