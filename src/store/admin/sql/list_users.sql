-- Users by id, with their use of the current quota period. Terminals are counted once for all users: they
-- have no index by user. $1 user or null for all
select u.id, u.quota_seconds, u.holds_max, now.period_start, now.period_end,
    coalesce(u.quota_seconds, policy.quota_default_seconds) as limit_seconds,
    used_seconds(u.id, now.period_start) as used_seconds,
    coalesce(u.holds_max, policy.holds_default_max) as holds_limit,
    u.holds::bigint as holds,
    coalesce(t.number, 0) as terminals
from users u cross join policy cross join
    (select * from quota_periods(now(), now() + interval '1 microsecond') limit 1) now
left join (select user_id, count(*) as number from terminals
           where $1::text is null or user_id = $1 group by user_id) t on t.user_id = u.id
where $1::text is null or u.id = $1
order by u.id
