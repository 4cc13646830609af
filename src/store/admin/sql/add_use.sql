-- Adds what was reserved before the page was marked to what the guard has counted since.
-- $1 generation, $2 users, $3 and $4 bounds of periods, $5 microseconds, side by side
insert into user_periods as kept (generation, user_id, period_start, period_end, reserved_us)
select $1, * from unnest($2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[])
on conflict (generation, user_id, period_start) do update set reserved_us = kept.reserved_us + excluded.reserved_us
