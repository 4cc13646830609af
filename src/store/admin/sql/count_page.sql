-- What users have reserved, by period of the count that is under way. A reservation's hold counts in the period
-- in which it starts. $1 users
select user_id, period_start, period_end,
    sum(1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))::bigint
        as reserved_us,
    count(*) filter (where state = 'held' and start_at >= period_start)::integer as holds
from recounts cross join reservations
cross join lateral periods_in(generation, quota_period, quota_zone, start_at, end_at)
where user_id = any ($1::text[]) and state <> 'cancelled'
group by user_id, period_start, period_end
order by user_id, period_start
