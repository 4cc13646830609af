-- The use of every period that a requested time touches.
-- $1 terminals, $2 starts, $3 ends, side by side
select touched.user_id, touched.period_start, touched.period_end,
       coalesce(u.quota_seconds, p.quota_default_seconds) as limit_seconds,
       coalesce(ceil(kept.reserved_us / 1000000.0), 0)::bigint as used_seconds
from (
    select distinct t.user_id, period.period_start, period.period_end
    from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as asked (terminal_id, start_at, end_at)
    cross join lateral (select user_id from terminals where id = asked.terminal_id offset 0) t
    cross join lateral quota_periods(asked.start_at, asked.end_at) period
) touched
cross join policy p
cross join lateral (select quota_seconds from users where id = touched.user_id offset 0) u
left join lateral (
    select reserved_us from user_periods
    where generation = p.generation and user_id = touched.user_id and period_start = touched.period_start
    offset 0) kept on true
