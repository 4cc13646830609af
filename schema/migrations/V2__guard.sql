-- The guard: the database itself refuses overbooking (ZR001), quota overrun (ZR002), illegal changes of
-- state (ZR003), rewriting of what is append-only (ZR004) and too many holds (ZR005), whoever writes.
--
-- Each trigger judges a whole statement at once. Triggers on reservations run as their owner, since a
-- worker's account may not write the counts. enable_seqscan = off: a function keeps its first plan, and
-- a plan made for an empty table must not read a large one from end to end.
-- See `docs/decisions/0007-guard-in-the-database.md`.


-- Calendar periods and use

-- The periods of a generation that [from_at, to_at) touches, by the stored bounds. Only PostgreSQL computes
-- period bounds: a second time-zone database would disagree. What is not stored, far from now, is computed.
create function periods_in(of_generation bigint, period text, zone text, from_at timestamptz, to_at timestamptz)
    returns table (period_start timestamptz, period_end timestamptz)
    language sql stable as $$
    select bounds.period_start, bounds.period_end
    from (select ('1 ' || period)::interval as step) p
    cross join lateral generate_series(
        -- One step early and one late. Where clocks go back to midnight, a period begins with the second
        -- midnight, and the time since the first one belongs to the period before. And stored bounds may
        -- follow other rules than this session's.
        date_trunc(period, from_at at time zone zone) - p.step,
        (to_at - interval '1 microsecond') at time zone zone + p.step,
        p.step) as series (first_day)
    cross join lateral (
        select coalesce((select starts_at from quota_bounds
                         where generation = of_generation and local_start = series.first_day),
                        series.first_day at time zone zone) as period_start,
               coalesce((select starts_at from quota_bounds
                         where generation = of_generation and local_start = series.first_day + p.step),
                        (series.first_day + p.step) at time zone zone) as period_end) bounds
    where bounds.period_start < to_at and bounds.period_end > from_at
      and bounds.period_start < bounds.period_end -- a zone may skip a day
$$;

-- The periods in force that [from_at, to_at) touches.
create function quota_periods(from_at timestamptz, to_at timestamptz)
    returns table (period_start timestamptz, period_end timestamptz)
    language sql stable as $$
    select p.period_start, p.period_end
    from policy cross join lateral periods_in(generation, quota_period, quota_zone, from_at, to_at) p
$$;

-- The generations that the guard keeps, each of all users up to one: the one in force, and that of a recount. A
-- statement reads both in one snapshot, so it misses no recount that ends meanwhile.
create view kept_generations as
    select generation, quota_period, quota_zone, '~' collate "C" as until_user from policy
    union all
    select generation, quota_period, quota_zone, marked_until from recounts;

-- Stores the bounds of the periods that [from_at, to_at) touches, unless a session has: of the generation in
-- force, and of one that is being counted. Policy changes wait.
create function store_quota_bounds(from_at timestamptz, to_at timestamptz) returns void language plpgsql as $$
begin
    perform from policy for share;
    insert into quota_bounds (generation, local_start, starts_at)
    select p.generation, series.first_day, series.first_day at time zone p.quota_zone
    from (select generation, quota_zone, quota_period, ('1 ' || quota_period)::interval as step
          from kept_generations) p
    cross join lateral generate_series(
        date_trunc(p.quota_period, from_at at time zone p.quota_zone) - p.step,
        (to_at - interval '1 microsecond') at time zone p.quota_zone + 2 * p.step,
        p.step) as series (first_day)
    order by p.generation, series.first_day
    on conflict do nothing;
end $$;

-- Stores bounds for 800 days ahead: more than the longest horizon (730 days) and the longest reservation
-- (31 days). So decisions find all bounds stored, unless the clock jumps; then the guard stores them.
create function extend_quota_bounds() returns void language plpgsql
    security definer set search_path from current as $$
declare
    stored_until timestamptz;
    until_at timestamptz := now() + interval '800 days';
begin
    select case bounds_until when '-infinity' then now() else bounds_until end into stored_until from timekeeping;
    if stored_until < until_at - interval '10 days' then
        perform store_quota_bounds(stored_until, until_at);
        -- A recount may have stored more meanwhile.
        update timekeeping set bounds_from = least(bounds_from, stored_until),
            bounds_until = greatest(bounds_until, until_at);
    end if;
end $$;

-- Seconds that a user's live reservations take in the period that begins at an instant. Rounded up, or
-- parts of a second could overrun a limit.
create function used_seconds(of_user text, from_at timestamptz) returns bigint language sql stable as $$
    select coalesce((select ceil(reserved_us / 1000000.0)::bigint from user_periods
                     where generation = (select generation from policy)
                       and user_id = of_user and period_start = from_at), 0)
$$;

-- The largest number of live reservations that overlap at one instant of a window. At one instant
-- ends (-1) come before starts (+1), since intervals are half-open.
create function peak_depth(of_server text, from_at timestamptz, to_at timestamptz, busy_max_seconds integer)
    returns integer language sql stable as $$
    with overlapping as (
        select start_at, busy_until from reservations
        where server_id = of_server and state <> 'cancelled'
          and start_at < to_at and start_at > from_at - make_interval(secs => busy_max_seconds)
          and busy_until > from_at
    ), steps as (
        select greatest(start_at, from_at) as at, 1 as step from overlapping
        union all
        select busy_until, -1 from overlapping where busy_until < to_at
    )
    select coalesce(max(depth), 0)::integer
    from (select sum(step) over (order by at, step) as depth from steps) running
$$;

-- The time whose periods a new generation stores: what can be reserved, and what is.
create function time_to_store(out from_at timestamptz, out until_at timestamptz) language sql stable as $$
    -- A century bounds the work; beyond it there is only what was typed by hand. A reservation takes 31 days at
    -- most. Each server's first and last start are one look into its index; the table is not read.
    select least(min(first.start_at), now()),
           greatest(least(coalesce(max(last.start_at) + interval '31 days', now()), now() + interval '100 years'),
                    now() + interval '800 days')
    from servers s
    left join lateral (select start_at from reservations where server_id = s.id and state <> 'cancelled'
                       order by start_at limit 1) first on true
    left join lateral (select start_at from reservations where server_id = s.id and state <> 'cancelled'
                       order by start_at desc limit 1) last on true
$$;

-- Begins to count all use anew, by a period and a zone and by this session's zone rules, and returns the
-- count; or returns the one that is under way. Decisions do not wait. The order of locks is recounts,
-- timekeeping, policy, everywhere.
create function begin_recount(to_period text, to_zone text) returns recounts language plpgsql as $$
declare
    begun recounts;
    stored record;
begin
    lock table recounts in exclusive mode;
    select * into begun from recounts;
    if found then
        return begun;
    end if;
    perform from timekeeping for update;
    -- Waits for those who store bounds far from now until they have committed what they reserve. Who stores
    -- later stores bounds of both generations.
    perform from policy for update;
    insert into recounts (quota_period, quota_zone) values (to_period, to_zone) returning * into begun;
    select least(t.bounds_from, s.from_at) as from_at, greatest(t.bounds_until, s.until_at) as until_at
    into stored from timekeeping t cross join time_to_store() s;
    perform store_quota_bounds(stored.from_at, stored.until_at);
    update timekeeping set bounds_from = stored.from_at, bounds_until = stored.until_at;
    return begun;
end $$;

-- Forgets all bounds and stores them by this session's zone rules, for what is reserved and what can be.
create function restore_quota_bounds() returns void language plpgsql as $$
declare
    stored record;
begin
    perform from timekeeping for update;
    perform from policy for update;
    delete from quota_bounds;
    select * into stored from time_to_store();
    perform store_quota_bounds(stored.from_at, stored.until_at);
    update timekeeping set bounds_from = stored.from_at, bounds_until = stored.until_at;
end $$;

-- Stores the bounds of all periods anew and counts the use of all users in one transaction, while nobody can
-- reserve: for a policy that is changed by hand, and after writes past the guard. The program counts in steps,
-- beginning with begin_recount. A count that is under way is abandoned.
create function recount_use() returns void language plpgsql security definer set search_path from current as $$
begin
    -- Nobody reserves against an old count meanwhile.
    lock table reservations in share row exclusive mode;
    delete from recounts;
    perform restore_quota_bounds();
    delete from user_periods;
    insert into user_periods (generation, user_id, period_start, period_end, reserved_us)
    select policy.generation, user_id, period_start, period_end,
           sum(1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
    from policy cross join reservations cross join lateral quota_periods(start_at, end_at)
    where state <> 'cancelled'
    group by policy.generation, user_id, period_start, period_end;
    update users set holds = counted.holds
    from (select id, (select count(*) from reservations
                      where user_id = users.id and state = 'held') as holds from users) counted
    where users.id = counted.id and users.holds <> counted.holds;
end $$;

-- A page of a recount takes this lock exclusively: it waits for users that are added and not committed, whom
-- it could not see, and later ones wait for it.
create function announce_users() returns trigger language plpgsql
    security definer set search_path from current as $$
begin
    lock table recounts in row share mode;
    return null;
end $$;
create trigger users_announced before insert or update of id on users
    for each statement execute function announce_users();


-- Retention's clock

-- The time that everything which deletes by age goes by. A clock that is set ahead deletes nothing.
create function retention_time() returns timestamptz language sql stable as $$
    select least(believed_at, now()) from timekeeping
$$;

-- Advances retention's clock; returns by how many seconds the database's is ahead of it. `elapsed` is the
-- caller's measured time, in seconds, since it last called. One reading of the database's clock cannot move
-- retention's by more than twice the time that has passed since the reading before, nor twice that measured
-- time; so after a pause it catches up, and a wrong clock makes it early by no more than the time it was wrong.
-- See `docs/decisions/0026-retention-has-its-own-clock.md`.
create function advance_retention_clock(elapsed double precision) returns double precision language plpgsql
    security definer set search_path from current as $$
declare
    kept timekeeping;
    clock timestamptz := clock_timestamp();
    step interval;
begin
    select * into kept from timekeeping for update;
    -- 120 s: two rounds of a worker. Of a longer silence nothing more is believed.
    step := greatest(least(clock - kept.read_at, make_interval(secs => least(elapsed, 120))), interval '0');
    if clock >= kept.believed_at then
        kept.believed_at := least(kept.believed_at + 2 * step, clock);
        kept.behind_seconds := 0;
    else
        -- A clock that was set back is followed once it has stayed there for a day. Sooner, a server that
        -- starts with the year 2000 would stop retention for decades.
        kept.behind_seconds := kept.behind_seconds + extract(epoch from step);
        if kept.behind_seconds >= 86400 then
            kept.believed_at := clock;
            kept.behind_seconds := 0;
        end if;
    end if;
    update timekeeping set believed_at = kept.believed_at, behind_seconds = kept.behind_seconds, read_at = clock;
    return extract(epoch from clock - kept.believed_at);
end $$;


-- Policy

-- PostgreSQL takes any text that looks like a POSIX zone: `Mars+1` is one, and `UTC+2` lies west. So only
-- names of its zone list are taken, in its spelling: `UTC`, and those that begin with an area, whose clock
-- changes as the law of a place says. Abbreviations such as `CET` and `EST` name no place.
create function zone_is_named(name text) returns boolean language sql immutable as $$
    select name ~ '^(UTC|(Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Europe|Indian|Pacific)/.+)$'
$$;

create function check_zone() returns trigger language plpgsql as $$
declare
    spelled text;
begin
    select name into spelled from pg_timezone_names
    where lower(name) = lower(new.quota_zone) and zone_is_named(name);
    if spelled is null then
        raise exception 'quota zone %: unknown; expected UTC or an IANA name with its area, such as Europe/Berlin',
            new.quota_zone using errcode = '22023';
    end if;
    new.quota_zone := spelled;
    return new;
end $$;
create trigger policy_zone before insert or update of quota_zone on policy
    for each row execute function check_zone();
create trigger recounts_zone before insert on recounts
    for each row execute function check_zone();

-- A change by hand counts at once. The program changes the generation with it, whose use is counted by then.
create function recount_for_policy() returns trigger language plpgsql as $$
begin
    perform recount_use();
    return null;
end $$;
create trigger policy_recount after update of quota_period, quota_zone on policy
    for each row when (old.generation = new.generation
        and (old.quota_period <> new.quota_period or old.quota_zone <> new.quota_zone))
    execute function recount_for_policy();


-- Reservations

-- Locks servers, then users, in the global order. The caller counts in later statements: lock-and-count
-- in one would count with a snapshot from before the lock. Any isolation but READ COMMITTED keeps that
-- old snapshot, and is refused.
create function lock_for_guard(server_ids text[], user_ids text[]) returns void language plpgsql as $$
begin
    if cardinality(server_ids) + cardinality(user_ids) = 0 then
        return;
    end if;
    if cardinality(server_ids) > 0 and current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'reservations can only be made at READ COMMITTED' using errcode = 'ZR001';
    end if;
    perform from servers where id = any (server_ids) order by id for no key update;
    perform from users where id = any (user_ids) order by id for no key update;
end $$;

-- enable_hashjoin = on: workers' sessions switch it off, and one insert may hold thousands of rows.
create function guard_insert() returns trigger language plpgsql
    security definer set search_path from current set enable_seqscan = off set enable_hashjoin = on as $$
declare
    violation record;
begin
    perform lock_for_guard(
        array(select distinct server_id from new_rows where state <> 'cancelled'),
        array(select distinct user_id from new_rows));

    select n.id into violation from new_rows n
    -- offset 0 keeps this a look-up per row: a join would read all users for a batch of one.
    where not exists (select from servers where id = n.server_id offset 0)
       or not exists (select from users where id = n.user_id offset 0)
       or not exists (select from terminals where id = n.terminal_id offset 0)
    limit 1;
    if found then
        raise exception 'reservation % names a server, user or terminal that does not exist', violation.id
            using errcode = '23503';
    end if;

    -- Before the check for overlaps, which looks back that far.
    update servers s set busy_max_seconds = longest.seconds
    from (select server_id, ceil(max(extract(epoch from busy_until - start_at)))::integer as seconds
          from new_rows where state <> 'cancelled' group by server_id) longest
    where s.id = longest.server_id and s.busy_max_seconds < longest.seconds;

    select n.id, n.server_id, s.capacity into violation
    from new_rows n
    cross join lateral (select capacity, busy_max_seconds from servers where id = n.server_id offset 0) s
    where n.state <> 'cancelled'
      -- Sort by time only where all overlapping reservations together exceed the capacity.
      and case when (select count(*) from (
                         select from reservations
                         where server_id = n.server_id and state <> 'cancelled'
                           and start_at < n.busy_until
                           and start_at > n.start_at - make_interval(secs => s.busy_max_seconds)
                           and busy_until > n.start_at
                         limit s.capacity + 1) overlapping) <= s.capacity then false
               else peak_depth(n.server_id, n.start_at, n.busy_until, s.busy_max_seconds) > s.capacity end
    limit 1;
    if found then
        raise exception 'reservation % overbooks server % beyond its capacity of %',
            violation.id, violation.server_id, violation.capacity using errcode = 'ZR001';
    end if;

    -- Only bounds far from now are not stored yet.
    perform store_quota_bounds(n.start_at, n.end_at) from new_rows n cross join timekeeping t
    where n.state <> 'cancelled' and (n.start_at < t.bounds_from or n.end_at > t.bounds_until);
    with touched as (
        insert into user_periods as kept (generation, user_id, period_start, period_end, reserved_us)
        select generation, user_id, period_start, period_end,
               sum(1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
        from kept_generations join new_rows on user_id <= until_user
        cross join lateral periods_in(generation, quota_period, quota_zone, start_at, end_at)
        where state <> 'cancelled'
        group by generation, user_id, period_start, period_end
        on conflict (generation, user_id, period_start)
            do update set reserved_us = kept.reserved_us + excluded.reserved_us
        returning kept.generation, kept.user_id, kept.period_start, kept.reserved_us
    )
    select t.user_id, t.period_start into violation
    from touched t join policy using (generation)
    cross join lateral (select quota_seconds from users where id = t.user_id offset 0) u
    where t.reserved_us > 1000000 * coalesce(u.quota_seconds, policy.quota_default_seconds)
    limit 1;
    if found then
        raise exception 'user % would exceed the quota of the period from %',
            violation.user_id, violation.period_start using errcode = 'ZR002';
    end if;

    with counted as (
        update users u set holds = u.holds + held.number
        from (select user_id, count(*) as number from new_rows where state = 'held' group by user_id) held
        where u.id = held.user_id
        returning u.id, u.holds, u.holds_max
    )
    select counted.id, counted.holds into violation from counted cross join policy
    where counted.holds > coalesce(counted.holds_max, policy.holds_default_max)
    limit 1;
    if found then
        raise exception 'user % would have % unreconfirmed holds, more than allowed', violation.id, violation.holds
            using errcode = 'ZR005';
    end if;
    return null;
end $$;

-- Checks the capacity for reservations that became longer or moved; only SQL typed by hand does that.
create function check_capacity(ids uuid[]) returns void language plpgsql as $$
declare
    violation record;
begin
    update servers s set busy_max_seconds = longest.seconds
    from (select server_id, ceil(max(extract(epoch from busy_until - start_at)))::integer as seconds
          from reservations where reservations.id = any (ids) group by server_id) longest
    where s.id = longest.server_id and s.busy_max_seconds < longest.seconds;

    select r.id, r.server_id, s.capacity into violation
    from reservations r join servers s on s.id = r.server_id
    where r.id = any (ids)
      and peak_depth(r.server_id, r.start_at, r.busy_until, s.busy_max_seconds) > s.capacity
    limit 1;
    if found then
        raise exception 'reservation % overbooks server % beyond its capacity of %',
            violation.id, violation.server_id, violation.capacity using errcode = 'ZR001';
    end if;
end $$;

-- Old and new rows are paired by grouping. The planner cannot estimate how many rows a statement changes,
-- and a join that compares each with each would take seconds for a large settlement.
create function guard_update() returns trigger language plpgsql
    security definer set search_path from current set enable_seqscan = off as $$
declare
    change record;
    overrun record;
begin
    with pairs as (
        select id,
               count(*) filter (where is_new) as news, count(*) filter (where not is_new) as olds,
               min(state) filter (where not is_new) as from_state, min(state) filter (where is_new) as to_state,
               min(server_id) filter (where is_new) as server_id, min(user_id) filter (where is_new) as user_id,
               min(user_id) filter (where not is_new) as from_user,
               min(server_id) <> max(server_id) or min(user_id) <> max(user_id)
                   or min(start_at) filter (where is_new) < min(start_at) filter (where not is_new)
                   or max(end_at) filter (where is_new) > max(end_at) filter (where not is_new)
                   or max(busy_until) filter (where is_new) > max(busy_until) filter (where not is_new) as takes_more,
               min(start_at) <> max(start_at) or min(end_at) <> max(end_at) or min(user_id) <> max(user_id)
                   as counts_otherwise
        from (select id, state, server_id, user_id, start_at, end_at, busy_until, false as is_new from old_rows
              union all
              select id, state, server_id, user_id, start_at, end_at, busy_until, true from new_rows) both_sets
        group by id
    ), classified as (
        select *,
               (from_state, to_state) not in (
                   ('held', 'held'), ('reconfirmed', 'reconfirmed'), ('confirmed', 'confirmed'),
                   ('cancelled', 'cancelled'),
                   ('held', 'reconfirmed'), ('held', 'confirmed'), ('held', 'cancelled'),
                   ('reconfirmed', 'confirmed'), ('reconfirmed', 'cancelled'),
                   ('confirmed', 'cancelled')) as illegal,
               to_state <> 'cancelled' and takes_more as grows,
               counts_otherwise or (from_state = 'cancelled') <> (to_state = 'cancelled')
                   or (from_state = 'held') <> (to_state = 'held') as changes_use
        from pairs
    )
    select (array_agg(id) filter (where olds <> 1 or news <> 1))[1] as unpaired_id,
           (array_agg(id) filter (where illegal))[1] as illegal_id,
           (array_agg(from_state) filter (where illegal))[1] as from_state,
           (array_agg(to_state) filter (where illegal))[1] as to_state,
           array_agg(id) filter (where grows) as growing,
           array_agg(distinct server_id) filter (where grows) as growing_servers,
           array_agg(distinct user_id) filter (where grows) as growing_users,
           array_agg(distinct user_id) filter (where changes_use)
               || array_agg(distinct from_user) filter (where changes_use) as changed_users
    into change
    from classified;
    -- Rows are paired by id, and history and billing entries name it.
    if change.unpaired_id is not null then
        raise exception 'reservation % keeps its id', change.unpaired_id using errcode = 'ZR003';
    end if;
    if change.illegal_id is not null then
        raise exception 'reservation % cannot go from % to %',
            change.illegal_id, change.from_state, change.to_state using errcode = 'ZR003';
    end if;
    if change.growing is not null then
        perform lock_for_guard(change.growing_servers, change.changed_users);
        perform check_capacity(change.growing);
    elsif change.changed_users is not null then
        perform lock_for_guard('{}', change.changed_users);
    else
        return null;
    end if;

    -- Only bounds far from now are not stored yet.
    perform store_quota_bounds(n.start_at, n.end_at) from new_rows n cross join timekeeping t
    where n.state <> 'cancelled' and (n.start_at < t.bounds_from or n.end_at > t.bounds_until);
    with touched as (
        insert into user_periods as kept (generation, user_id, period_start, period_end, reserved_us)
        select generation, user_id, period_start, period_end,
               sum(sign * 1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
        from (select user_id, start_at, end_at, sum(sign) as sign
              from (select id, user_id, start_at, end_at, 1 as sign from new_rows where state <> 'cancelled'
                    union all
                    select id, user_id, start_at, end_at, -1 from old_rows where state <> 'cancelled') signed
              group by id, user_id, start_at, end_at having sum(sign) <> 0) difference
        join kept_generations on user_id <= until_user
        cross join lateral periods_in(generation, quota_period, quota_zone, start_at, end_at)
        group by generation, user_id, period_start, period_end
        on conflict (generation, user_id, period_start)
            do update set reserved_us = kept.reserved_us + excluded.reserved_us
        returning kept.generation, kept.user_id, kept.period_start, kept.reserved_us
    )
    select t.user_id, t.period_start into overrun
    from touched t join policy using (generation)
    cross join lateral (select quota_seconds from users where id = t.user_id offset 0) u
    where t.reserved_us > 1000000 * coalesce(u.quota_seconds, policy.quota_default_seconds)
      -- A lowered limit affects only what takes more.
      and t.user_id = any (change.growing_users)
    limit 1;
    if found then
        raise exception 'user % would exceed the quota of the period from %',
            overrun.user_id, overrun.period_start using errcode = 'ZR002';
    end if;

    update users u set holds = u.holds + difference.number
    from (select user_id, sum(sign) as number
          from (select user_id, 1 as sign from new_rows where state = 'held'
                union all
                select user_id, -1 from old_rows where state = 'held') signed
          group by user_id having sum(sign) <> 0) difference
    where u.id = difference.user_id;
    return null;
end $$;

-- Only a settled reservation that is over can be deleted: over by retention's clock, since a single reading of
-- the database's must not be able to delete anything.
create function guard_delete() returns trigger language plpgsql
    security definer set search_path from current as $$
declare
    violation record;
begin
    select id, state into violation from deleted_rows
    where state in ('held', 'reconfirmed') or end_at > retention_time()
    limit 1;
    if found then
        raise exception 'reservation % is not over: %', violation.id, violation.state using errcode = 'ZR003';
    end if;
    perform lock_for_guard('{}', array(select distinct user_id from deleted_rows where state <> 'cancelled'));
    -- A recount may not have a row of the period yet.
    insert into user_periods as kept (generation, user_id, period_start, period_end, reserved_us)
    select generation, user_id, period_start, period_end,
           sum(-1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
    from kept_generations join deleted_rows on user_id <= until_user
    cross join lateral periods_in(generation, quota_period, quota_zone, start_at, end_at)
    where state <> 'cancelled'
    group by generation, user_id, period_start, period_end
    on conflict (generation, user_id, period_start)
        do update set reserved_us = kept.reserved_us + excluded.reserved_us;
    -- An empty period that is over gets no more reservations.
    delete from user_periods kept
    using deleted_rows, kept_generations counted
    where kept.generation = counted.generation and kept.user_id = deleted_rows.user_id
      and kept.reserved_us = 0 and kept.period_end < retention_time();
    return null;
end $$;

create trigger reservations_guard_insert after insert on reservations
    referencing new table as new_rows for each statement execute function guard_insert();
create trigger reservations_guard_update after update on reservations
    referencing old table as old_rows new table as new_rows
    for each statement execute function guard_update();
create trigger reservations_guard_delete after delete on reservations
    referencing old table as deleted_rows for each statement execute function guard_delete();


-- What reservations name

-- Lowering a capacity below what is booked is refused, with the reservations in the way as the detail.
create function guard_server() returns trigger language plpgsql as $$
declare
    in_the_way text;
begin
    if tg_op = 'INSERT' then
        -- A server that is added again goes on counting: bills name versions.
        new.tariff_version := greatest(new.tariff_version, 1 + coalesce(
            (select max(version) from tariffs where server_id = new.id), 0));
    else
        new.busy_max_seconds := greatest(new.busy_max_seconds, old.busy_max_seconds);
        new.tariff_version := old.tariff_version
            + (new.rate_minor <> old.rate_minor or new.currency <> old.currency)::integer;
        if new.capacity < old.capacity then
            -- An older snapshot would not show what was booked since.
            if current_setting('transaction_isolation') <> 'read committed' then
                raise exception 'capacity can only be lowered at READ COMMITTED' using errcode = 'ZR001';
            end if;
            select string_agg(r.id::text, ', ' order by r.start_at, r.id) into in_the_way
            from reservations r
            where r.server_id = new.id and r.state <> 'cancelled' and r.busy_until > clock_timestamp()
              -- Implied, and spares the past.
              and r.start_at > now() - make_interval(secs => new.busy_max_seconds)
              and peak_depth(r.server_id, r.start_at, r.busy_until, new.busy_max_seconds) > new.capacity;
            if in_the_way is not null then
                raise exception 'capacity % of server % is below what is booked', new.capacity, new.id
                    using errcode = 'ZR001', detail = in_the_way;
            end if;
        end if;
    end if;
    return new;
end $$;
create trigger servers_guard before insert or update on servers
    for each row execute function guard_server();

-- The other half of the foreign keys that reservations do without.
create function guard_referenced() returns trigger language plpgsql as $$
declare
    used boolean;
begin
    -- Waits for inserts that are not committed. Later inserts wait for this transaction, and find the row
    -- gone.
    lock table reservations in share row exclusive mode;
    execute format('select exists (select from reservations r join deleted_rows d on r.%I = d.id)', tg_argv[0])
        into used;
    if used then
        raise exception '% that reservations name cannot be deleted', tg_table_name using errcode = '23503';
    end if;
    return null;
end $$;
create trigger servers_referenced after delete on servers
    referencing old table as deleted_rows for each statement execute function guard_referenced('server_id');
create trigger users_referenced after delete on users
    referencing old table as deleted_rows for each statement execute function guard_referenced('user_id');
create trigger terminals_referenced after delete on terminals
    referencing old table as deleted_rows for each statement execute function guard_referenced('terminal_id');

create function refuse_truncate() returns trigger language plpgsql as $$
begin
    raise exception '% cannot be truncated', tg_table_name using errcode = 'ZR004';
end $$;
create trigger reservations_no_truncate before truncate on reservations
    for each statement execute function refuse_truncate();
create trigger servers_no_truncate before truncate on servers
    for each statement execute function refuse_truncate();
create trigger users_no_truncate before truncate on users
    for each statement execute function refuse_truncate();
create trigger terminals_no_truncate before truncate on terminals
    for each statement execute function refuse_truncate();


-- Access keys

-- A key is given to what is confirmed.
create function guard_access() returns trigger language plpgsql set enable_seqscan = off as $$
declare
    violation record;
begin
    select n.reservation_id into violation from new_rows n
    where not exists (select from reservations where id = n.reservation_id and server_id = n.server_id
                      and state = 'confirmed' offset 0)
    limit 1;
    if found then
        raise exception 'reservation % gets no access key: it is not confirmed, or of another server',
            violation.reservation_id using errcode = 'ZR003';
    end if;
    return null;
end $$;
create trigger access_guard after insert on access
    referencing new table as new_rows for each statement execute function guard_access();

-- An old key must not become valid again.
create function refuse_old_key() returns trigger language plpgsql as $$
begin
    raise exception 'the access key of reservation % keeps its reservation, and its epoch only grows',
        old.reservation_id using errcode = 'ZR003';
end $$;
create trigger access_epoch_grows before update of reservation_id, epoch on access
    for each row when (new.reservation_id <> old.reservation_id or new.epoch < old.epoch)
    execute function refuse_old_key();

-- Gates ask for what has changed since they asked last. Use is recorded a minute after the end: what gates saw
-- has arrived by then.
create function touch_access() returns trigger language plpgsql
    security definer set search_path from current as $$
begin
    update access set changed_at = clock_timestamp(), server_id = new.server_id,
        close_at = case when new.state = 'confirmed' and close_at is not null
                        then new.end_at + interval '60 s' end
    where reservation_id = new.id;
    return null;
end $$;
create trigger reservations_touch_access after update of state, server_id, start_at, end_at, busy_until on reservations
    for each row when (old.state = 'confirmed'
        and (old.state, old.server_id, old.start_at, old.end_at, old.busy_until)
            is distinct from (new.state, new.server_id, new.start_at, new.end_at, new.busy_until))
    execute function touch_access();

-- What a gate lets in: every reservation with a key that begins within 26 hours and ended at most a minute
-- ago, so that a gate without a database knows the whole next day. A cancelled one is told, so that its session
-- is cut. In two halves, for there are two indexes; the bound on the start is implied by the end.
create view admissions as
    select a.server_id, a.reservation_id, r.start_at, r.end_at, r.busy_until, r.state, a.key_hash, a.changed_at,
           s.capacity, s.viewers_max, s.early_seconds,
           extract(epoch from r.busy_until - r.end_at)::integer as gap_seconds
    from access a
    join servers s on s.id = a.server_id
    join reservations r on r.id = a.reservation_id and r.server_id = a.server_id
    where r.state = 'confirmed' and r.start_at < now() + interval '26 hours'
      and r.start_at > now() - make_interval(mins => 1, secs => s.busy_max_seconds)
      and r.end_at > now() - interval '1 minute'
    union all
    select a.server_id, a.reservation_id, r.start_at, r.end_at, r.busy_until, r.state, a.key_hash, a.changed_at,
           s.capacity, s.viewers_max, s.early_seconds,
           extract(epoch from r.busy_until - r.end_at)::integer
    from access a
    join servers s on s.id = a.server_id
    join reservations r on r.id = a.reservation_id and r.server_id = a.server_id
    where r.state = 'cancelled' and r.start_at < now() + interval '26 hours'
      and r.start_at > now() - make_interval(mins => 1, secs => s.busy_max_seconds)
      and r.end_at > now() - interval '1 minute';


-- Append-only tables

create function refuse_rewrite() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'ZR004';
end $$;
create trigger history_append_only before update or delete or truncate on history
    for each statement execute function refuse_rewrite();
create trigger billing_entries_append_only before update or delete or truncate on billing_entries
    for each statement execute function refuse_rewrite();

create trigger tariffs_append_only before update or delete or truncate on tariffs
    for each statement execute function refuse_rewrite();
create trigger audit_append_only before update or delete or truncate on audit
    for each statement execute function refuse_rewrite();

-- A new billing entry names a reservation that exists.
create function guard_billing_entries() returns trigger language plpgsql as $$
declare
    violation record;
begin
    select n.id, n.reservation_id into violation
    from new_rows n left join reservations r on r.id = n.reservation_id
    where r.id is null
    limit 1;
    if found then
        raise exception 'billing entry % is for reservation %, which does not exist',
            violation.id, violation.reservation_id using errcode = '23503';
    end if;
    return null;
end $$;
create trigger billing_entries_guard after insert on billing_entries
    referencing new table as new_rows for each statement execute function guard_billing_entries();


-- Tariffs and the audit. The triggers name the columns that operators set, so the service's own updates of
-- these tables cost nothing.

create function keep_tariff() returns trigger language plpgsql
    security definer set search_path from current as $$
begin
    insert into tariffs (server_id, version, rate_minor, currency, from_at)
    values (new.id, new.tariff_version, new.rate_minor, new.currency, clock_timestamp());
    return null;
end $$;
create trigger servers_first_tariff after insert on servers
    for each row execute function keep_tariff();
create trigger servers_next_tariff after update of rate_minor, currency on servers
    for each row when (old.tariff_version <> new.tariff_version) execute function keep_tariff();

-- The operator is what the session set as `holdfast.operator`, else its role; why, as `holdfast.why`.
create function write_audit(kind text, object_id text, action text, before jsonb, after jsonb)
    returns void language sql as $$
    insert into audit (operator, database_role, kind, object_id, action, before, after, why)
    values (coalesce(nullif(current_setting('holdfast.operator', true), ''), session_user), session_user,
            kind, object_id, action, before, after, nullif(current_setting('holdfast.why', true), ''))
$$;

-- Arguments: the kind, the column that identifies the object, and what is no setting.
create function record_change() returns trigger language plpgsql
    security definer set search_path from current as $$
declare
    no_settings text[] := tg_argv[2]::text[];
    before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - no_settings end;
    after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - no_settings end;
    object_id text := coalesce(to_jsonb(new), to_jsonb(old)) ->> tg_argv[1];
begin
    if tg_op = 'UPDATE' then
        select jsonb_object_agg(b.key, b.value), jsonb_object_agg(a.key, a.value) into before, after
        from jsonb_each(before) b join jsonb_each(after) a using (key)
        where b.value <> a.value;
        if before is null then
            return null;
        end if;
    end if;
    perform write_audit(tg_argv[0], object_id,
        case tg_op when 'INSERT' then 'add' when 'UPDATE' then 'set' else 'remove' end, before, after);
    return null;
end $$;
create trigger servers_audit
    after insert or delete or update of id, capacity, open, rate_minor, currency, slot_seconds, min_seconds,
        max_seconds, gap_seconds, lead_seconds, reminder_seconds, horizon_seconds, late_booking, connection_url,
        view_url, viewers_max, early_seconds
    on servers for each row execute function record_change('server', 'id', '{id,busy_max_seconds,created_at}');
create trigger closures_audit after insert or delete or update on closures
    for each row execute function record_change('server_closure', 'server_id', '{server_id}');
create trigger users_audit after insert or delete or update of id, quota_seconds, holds_max on users
    for each row execute function record_change('user', 'id', '{id,holds,created_at}');
create trigger terminals_audit after insert or delete or update on terminals
    for each row execute function record_change('terminal', 'id', '{id,created_at}');
create trigger policy_audit after insert or delete or update on policy
    for each row execute function record_change('policy', 'only_row', '{only_row,generation}');
create trigger topology_audit after insert or delete or update on topology
    for each row execute function record_change('topology', 'only_row', '{only_row,applied_at}');
create trigger installation_audit after insert or delete or update on installation
    for each row execute function record_change('installation', 'only_row', '{only_row,created_at}');
create trigger pauses_audit after insert or delete or update on pauses
    for each row execute function record_change('pause', 'scope', '{scope,why,paused_at}');

-- What became of a dead letter, and who wanted it.
create function record_letter() returns trigger language plpgsql
    security definer set search_path from current as $$
begin
    perform write_audit('dead_letter', new.id::text,
        case new.state when 'discarded' then 'discard' else 'replay' end, null,
        jsonb_build_object('reason', new.reason, 'account', new.account, 'routing_key', new.routing_key,
            'message_id', new.message_id, 'attempts', new.attempts));
    return null;
end $$;
create trigger dead_letters_replay after update of attempts on dead_letters
    for each row when (new.attempts > old.attempts) execute function record_letter();
create trigger dead_letters_discard after update of state on dead_letters
    for each row when (new.state = 'discarded' and old.state <> 'discarded') execute function record_letter();

-- A move is recorded when an operator begins it; a worker ends it.
create function record_move() returns trigger language plpgsql
    security definer set search_path from current as $$
begin
    perform write_audit('server', new.server_id, 'move', jsonb_build_object('partition', new.from_partition),
        jsonb_build_object('partition', new.to_partition));
    return null;
end $$;
create trigger moves_audit after insert on moves for each row execute function record_move();


-- For the service's statements

-- The smallest id that can have been drawn at an instant: UUIDs of version 7 begin with its milliseconds
-- since the epoch. No instant before that drew any.
create function oldest_id_of(at timestamptz) returns uuid language sql immutable as $$
    select (lpad(to_hex(greatest(floor(extract(epoch from at) * 1000), 0)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Raises ZR006 unless a statement changed as many rows as expected: locked rows must not have changed.
create function expect_rows(changed bigint, expected bigint) returns void language plpgsql as $$
begin
    if changed <> expected then
        raise exception '% of % locked rows changed', changed, expected using errcode = 'ZR006';
    end if;
end $$;

select extend_quota_bounds();
