-- What users have in use is kept by the guard instead of being counted for every decision: a decision
-- costs the same for a user with one reservation and with a hundred thousand. All of it is judged for
-- a whole statement at a time.

-- Microseconds that a user's live reservations take in a calendar period. Kept by the guard, under
-- the user's lock; nobody else writes here.
create table user_periods (
    user_id      text not null,
    period_start timestamptz not null,
    period_end   timestamptz not null,
    reserved_us  bigint not null,
    primary key (user_id, period_start)
) with (fillfactor = 70);

-- Reservations of the user in state held. Kept by the guard.
alter table users add column holds integer not null default 0;
-- The count changes with every batch: room for it in the page.
alter table users set (fillfactor = 50);

-- Was for counting.
drop index reservations_held_by_user;
drop index reservations_live_by_user;

-- A foreign key looks up one row at a time, and locks a terminal that many batches share. The guard
-- looks up a statement's rows together, and those who delete wait for those who reserve.
alter table reservations
    drop constraint reservations_terminal_id_fkey,
    drop constraint reservations_user_id_fkey,
    drop constraint reservations_server_id_fkey;

create function guard_referenced() returns trigger language plpgsql as $$
declare
    used boolean;
begin
    -- Whoever has inserted and not committed holds a lock that this waits for; whoever inserts later
    -- waits for us, and finds the row gone.
    lock table reservations in share row exclusive mode;
    execute format('select exists (select from reservations r join gone on r.%I = gone.id)', tg_argv[0])
        into used;
    if used then
        raise exception '% that reservations name cannot be deleted', tg_table_name using errcode = '23503';
    end if;
    return null;
end $$;
create trigger servers_referenced after delete on servers
    referencing old table as gone for each statement execute function guard_referenced('server_id');
create trigger users_referenced after delete on users
    referencing old table as gone for each statement execute function guard_referenced('user_id');
create trigger terminals_referenced after delete on terminals
    referencing old table as gone for each statement execute function guard_referenced('terminal_id');
create function refuse_truncate() returns trigger language plpgsql as $$
begin
    raise exception '% cannot be truncated', tg_table_name using errcode = 'ZR004';
end $$;
create trigger servers_no_truncate before truncate on servers
    for each statement execute function refuse_truncate();
create trigger users_no_truncate before truncate on users
    for each statement execute function refuse_truncate();
create trigger terminals_no_truncate before truncate on terminals
    for each statement execute function refuse_truncate();

-- Counts everything anew. For a new policy, and for who has written past the guard.
create function recount_use() returns void language plpgsql security definer set search_path from current as $$
begin
    -- Nobody reserves by an old count meanwhile.
    lock table reservations in share row exclusive mode;
    delete from user_periods;
    insert into user_periods (user_id, period_start, period_end, reserved_us)
    select user_id, period_start, period_end,
           sum(1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
    from reservations cross join lateral quota_periods(start_at, end_at)
    where state <> 'cancelled'
    group by user_id, period_start, period_end;
    update users set holds = counted.holds
    from (select id, (select count(*) from reservations
                      where user_id = users.id and state = 'held') as holds from users) counted
    where users.id = counted.id and users.holds <> counted.holds;
end $$;
select recount_use();

create function recount_for_policy() returns trigger language plpgsql as $$
begin
    perform recount_use();
    return null;
end $$;
create trigger policy_recount after update of quota_period, quota_zone on policy
    for each row when (old.quota_period <> new.quota_period or old.quota_zone <> new.quota_zone)
    execute function recount_for_policy();

drop function reserved_seconds(text, timestamptz, timestamptz);

-- Seconds that a user's live reservations take in the period that begins at an instant. A part of a
-- second counts as one, or a limit could be overrun by it.
create function used_seconds(of_user text, from_at timestamptz) returns bigint language sql stable as $$
    select coalesce((select ceil(reserved_us / 1000000.0)::bigint from user_periods
                     where user_id = of_user and period_start = from_at), 0)
$$;

-- The trigger functions below do as their owner may: who reserves need not be able to write the
-- counts. Their plans are for indexes however small a table was when they were made.
drop trigger reservations_guard_insert on reservations;
drop trigger reservations_guard_update on reservations;
drop trigger reservations_guard_delete on reservations;
drop function guard_insert();
drop function guard_update();
drop function guard_reservations(uuid[]);

-- Locks servers, then users, in the order that everybody uses. What is counted is counted in later
-- statements: lock-and-count in one would count with a snapshot from before the lock. For the same
-- reason any isolation but READ COMMITTED is refused.
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

create function guard_insert() returns trigger language plpgsql
    security definer set search_path from current set enable_seqscan = off set enable_hashjoin = on as $$
declare
    broken record;
begin
    perform lock_for_guard(
        array(select distinct server_id from fresh where state <> 'cancelled'),
        array(select distinct user_id from fresh));

    select f.id into broken from fresh f
    -- A look-up per row: a join would read all users for a batch of one.
    where not exists (select from servers where id = f.server_id offset 0)
       or not exists (select from users where id = f.user_id offset 0)
       or not exists (select from terminals where id = f.terminal_id offset 0)
    limit 1;
    if found then
        raise exception 'reservation % names a server, user or terminal that does not exist', broken.id
            using errcode = '23503';
    end if;

    -- Whoever looks for overlaps must look far enough back to find these.
    update servers s set busy_max_seconds = longest.seconds
    from (select server_id, ceil(max(extract(epoch from busy_until - start_at)))::integer as seconds
          from fresh where state <> 'cancelled' group by server_id) longest
    where s.id = longest.server_id and s.busy_max_seconds < longest.seconds;

    select f.id, f.server_id, s.capacity into broken
    from fresh f
    cross join lateral (select capacity, busy_max_seconds from servers where id = f.server_id offset 0) s
    where f.state <> 'cancelled'
      -- Where not even all that overlap it are too many, there is nothing to sort.
      and case when (select count(*) from (
                         select from reservations
                         where server_id = f.server_id and state <> 'cancelled'
                           and start_at < f.busy_until
                           and start_at > f.start_at - make_interval(secs => s.busy_max_seconds)
                           and busy_until > f.start_at
                         limit s.capacity + 1) overlapping) <= s.capacity then false
               else peak_depth(f.server_id, f.start_at, f.busy_until, s.busy_max_seconds) > s.capacity end
    limit 1;
    if found then
        raise exception 'reservation % overbooks server % beyond its capacity of %',
            broken.id, broken.server_id, broken.capacity using errcode = 'ZR001';
    end if;

    with touched as (
        insert into user_periods as kept (user_id, period_start, period_end, reserved_us)
        select user_id, period_start, period_end,
               sum(1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
        from fresh cross join lateral quota_periods(start_at, end_at)
        where state <> 'cancelled'
        group by user_id, period_start, period_end
        on conflict (user_id, period_start) do update set reserved_us = kept.reserved_us + excluded.reserved_us
        returning kept.user_id, kept.period_start, kept.reserved_us
    )
    select t.user_id, t.period_start into broken
    from touched t cross join policy
    cross join lateral (select quota_seconds from users where id = t.user_id offset 0) u
    where t.reserved_us > 1000000 * coalesce(u.quota_seconds, policy.quota_default_seconds)
    limit 1;
    if found then
        raise exception 'user % would exceed the quota of the period from %',
            broken.user_id, broken.period_start using errcode = 'ZR002';
    end if;

    with counted as (
        update users u set holds = u.holds + held.number
        from (select user_id, count(*) as number from fresh where state = 'held' group by user_id) held
        where u.id = held.user_id
        returning u.id, u.holds, u.holds_max
    )
    select counted.id, counted.holds into broken from counted cross join policy
    where counted.holds > coalesce(counted.holds_max, policy.holds_default_max)
    limit 1;
    if found then
        raise exception 'user % would have % unreconfirmed holds, more than allowed', broken.id, broken.holds
            using errcode = 'ZR005';
    end if;
    return null;
end $$;

-- Old and new rows are paired by grouping: the planner knows nothing of how many a statement changes,
-- and a join that compares each with each would take seconds for a large settlement.
create function guard_update() returns trigger language plpgsql
    security definer set search_path from current set enable_seqscan = off as $$
declare
    broken record;
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
        from (select id, state, server_id, user_id, start_at, end_at, busy_until, false as is_new from stale
              union all
              select id, state, server_id, user_id, start_at, end_at, busy_until, true from fresh) both_of_them
        group by id
    ), judgements as (
        select *,
               (from_state, to_state) not in (
                   ('held', 'held'), ('reconfirmed', 'reconfirmed'), ('confirmed', 'confirmed'),
                   ('cancelled', 'cancelled'),
                   ('held', 'reconfirmed'), ('held', 'confirmed'), ('held', 'cancelled'),
                   ('reconfirmed', 'confirmed'), ('reconfirmed', 'cancelled'),
                   ('confirmed', 'cancelled')) as illegal,
               to_state <> 'cancelled' and takes_more as judged,
               counts_otherwise or (from_state = 'cancelled') <> (to_state = 'cancelled')
                   or (from_state = 'held') <> (to_state = 'held') as changes_use
        from pairs
    )
    select (array_agg(id) filter (where olds <> 1 or news <> 1))[1] as stray,
           (array_agg(id) filter (where illegal))[1] as id,
           (array_agg(from_state) filter (where illegal))[1] as from_state,
           (array_agg(to_state) filter (where illegal))[1] as to_state,
           array_agg(id) filter (where judged) as judged,
           array_agg(distinct server_id) filter (where judged) as judged_servers,
           array_agg(distinct user_id) filter (where judged) as judged_users,
           array_agg(distinct user_id) filter (where changes_use)
               || array_agg(distinct from_user) filter (where changes_use) as changed_users
    into broken
    from judgements;
    -- Rows are paired by id, and history and bills name it.
    if broken.stray is not null then
        raise exception 'reservation % keeps its id', broken.stray using errcode = 'ZR003';
    end if;
    if broken.id is not null then
        raise exception 'reservation % cannot go from % to %',
            broken.id, broken.from_state, broken.to_state using errcode = 'ZR003';
    end if;
    if broken.judged is not null then
        perform lock_for_guard(broken.judged_servers, broken.changed_users);
        perform judge_places(broken.judged);
    elsif broken.changed_users is not null then
        perform lock_for_guard('{}', broken.changed_users);
    else
        return null;
    end if;

    with touched as (
        insert into user_periods as kept (user_id, period_start, period_end, reserved_us)
        select user_id, period_start, period_end,
               sum(sign * 1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start)))
        from (select user_id, start_at, end_at, sum(sign) as sign
              from (select id, user_id, start_at, end_at, 1 as sign from fresh where state <> 'cancelled'
                    union all
                    select id, user_id, start_at, end_at, -1 from stale where state <> 'cancelled') each_one
              group by id, user_id, start_at, end_at having sum(sign) <> 0) change
        cross join lateral quota_periods(start_at, end_at)
        group by user_id, period_start, period_end
        on conflict (user_id, period_start) do update set reserved_us = kept.reserved_us + excluded.reserved_us
        returning kept.user_id, kept.period_start, kept.reserved_us
    )
    select t.user_id, t.period_start into overrun
    from touched t cross join policy
    cross join lateral (select quota_seconds from users where id = t.user_id offset 0) u
    where t.reserved_us > 1000000 * coalesce(u.quota_seconds, policy.quota_default_seconds)
      -- A lower limit affects only what is new.
      and t.user_id = any (broken.judged_users)
    limit 1;
    if found then
        raise exception 'user % would exceed the quota of the period from %',
            overrun.user_id, overrun.period_start using errcode = 'ZR002';
    end if;

    update users u set holds = u.holds + change.number
    from (select user_id, sum(sign) as number
          from (select user_id, 1 as sign from fresh where state = 'held'
                union all
                select user_id, -1 from stale where state = 'held') each_one
          group by user_id having sum(sign) <> 0) change
    where u.id = change.user_id;
    return null;
end $$;

-- Judges rows that became longer or moved; rare, and only by hand.
create function judge_places(ids uuid[]) returns void language plpgsql as $$
declare
    broken record;
begin
    update servers s set busy_max_seconds = longest.seconds
    from (select server_id, ceil(max(extract(epoch from busy_until - start_at)))::integer as seconds
          from reservations where reservations.id = any (ids) group by server_id) longest
    where s.id = longest.server_id and s.busy_max_seconds < longest.seconds;

    select r.id, r.server_id, s.capacity into broken
    from reservations r join servers s on s.id = r.server_id
    where r.id = any (ids)
      and peak_depth(r.server_id, r.start_at, r.busy_until, s.busy_max_seconds) > s.capacity
    limit 1;
    if found then
        raise exception 'reservation % overbooks server % beyond its capacity of %',
            broken.id, broken.server_id, broken.capacity using errcode = 'ZR001';
    end if;
end $$;

create or replace function guard_delete() returns trigger language plpgsql
    security definer set search_path from current as $$
declare
    broken record;
begin
    select id, state into broken from gone
    where state in ('held', 'reconfirmed') or end_at > clock_timestamp()
    limit 1;
    if found then
        raise exception 'reservation % is not over: %', broken.id, broken.state using errcode = 'ZR003';
    end if;
    perform from users where id in (select user_id from gone where state <> 'cancelled')
        order by id for no key update;
    update user_periods kept set reserved_us = kept.reserved_us - change.us
    from (select user_id, period_start,
                 sum(1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start))) as us
          from gone cross join lateral quota_periods(start_at, end_at)
          where state <> 'cancelled'
          group by user_id, period_start) change
    where kept.user_id = change.user_id and kept.period_start = change.period_start;
    -- Nothing is left in a period that is over.
    delete from user_periods kept using gone
    where kept.user_id = gone.user_id and kept.reserved_us = 0 and kept.period_end < clock_timestamp();
    return null;
end $$;

create trigger reservations_guard_insert after insert on reservations
    referencing new table as fresh for each statement execute function guard_insert();
create trigger reservations_guard_update after update on reservations
    referencing old table as stale new table as fresh
    for each statement execute function guard_update();
create trigger reservations_guard_delete after delete on reservations
    referencing old table as gone for each statement execute function guard_delete();

-- Raises unless as many rows were changed as were to be: what was locked has not changed.
create function expect_rows(changed bigint, expected bigint) returns void language plpgsql as $$
begin
    if changed <> expected then
        raise exception '% of % locked rows changed', changed, expected using errcode = 'ZR006';
    end if;
end $$;
