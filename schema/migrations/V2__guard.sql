-- The last line: whatever the worker or a hand-typed statement tries, the database refuses
-- overbooking (ZR001), quota overrun (ZR002), illegal changes of state (ZR003) and rewriting of
-- what is append-only (ZR004).

-- The zone must be one that PostgreSQL knows; a CHECK cannot ask that.
create function check_policy() returns trigger language plpgsql as $$
begin
    perform clock_timestamp() at time zone new.quota_zone;
    return new;
end $$;
create trigger policy_zone before insert or update on policy
    for each row execute function check_policy();

-- The calendar periods that [from_at, to_at) touches. The only place where period bounds are
-- computed: two time-zone databases would disagree.
create function quota_periods(from_at timestamptz, to_at timestamptz)
    returns table (period_start timestamptz, period_end timestamptz)
    language sql stable as $$
    select bounds.period_start, bounds.period_end
    from (select quota_zone, quota_period, ('1 ' || quota_period)::interval as step from policy) p
    cross join lateral generate_series(
        -- One step early: where clocks go back to midnight, midnight comes twice, a period begins
        -- with the second, and the time since the first belongs to the period before.
        date_trunc(p.quota_period, from_at at time zone p.quota_zone) - p.step,
        (to_at - interval '1 microsecond') at time zone p.quota_zone,
        p.step) as local_start
    cross join lateral (
        select local_start at time zone p.quota_zone as period_start,
               (local_start + p.step) at time zone p.quota_zone as period_end) bounds
    where bounds.period_start < to_at and bounds.period_end > from_at
$$;

-- Seconds that a user's live reservations take between two instants, clipped to them. A part of a
-- second counts as one, or a limit could be overrun by it.
create function reserved_seconds(of_user text, from_at timestamptz, to_at timestamptz)
    returns bigint language sql stable as $$
    select ceil(coalesce(sum(extract(epoch from least(end_at, to_at) - greatest(start_at, from_at))), 0))::bigint
    from reservations
    where user_id = of_user and state <> 'cancelled' and end_at > from_at and start_at < to_at
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

-- Judges rows that became live or longer. Locks the servers and users first, in the order that
-- everybody uses, and counts in new statements: lock-and-count in one statement would count with
-- a snapshot from before the lock. For the same reason any isolation but READ COMMITTED is refused.
create function guard_reservations(ids uuid[]) returns void language plpgsql as $$
declare
    broken record;
begin
    if cardinality(ids) = 0 then
        return;
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'reservations can only be made at READ COMMITTED' using errcode = 'ZR001';
    end if;
    perform 1 from servers
        where id in (select server_id from reservations where reservations.id = any (ids))
        order by id for no key update;
    perform 1 from users
        where id in (select user_id from reservations where reservations.id = any (ids))
        order by id for no key update;

    -- Whoever looks for overlaps must look far enough back to find these.
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

    select touched.user_id, touched.period_start into broken
    from (select distinct r.user_id, p.period_start, p.period_end
          from reservations r cross join lateral quota_periods(r.start_at, r.end_at) p
          where r.id = any (ids)) touched
    join users u on u.id = touched.user_id
    cross join policy
    where reserved_seconds(touched.user_id, touched.period_start, touched.period_end)
          > coalesce(u.quota_seconds, policy.quota_default_seconds)
    limit 1;
    if found then
        raise exception 'user % would exceed the quota of the period from %',
            broken.user_id, broken.period_start using errcode = 'ZR002';
    end if;
end $$;

create function guard_insert() returns trigger language plpgsql as $$
begin
    perform guard_reservations(array(select id from fresh where state <> 'cancelled' order by id));
    return null;
end $$;
create trigger reservations_guard_insert after insert on reservations
    referencing new table as fresh for each statement execute function guard_insert();

create function guard_update() returns trigger language plpgsql as $$
declare
    broken record;
begin
    -- Rows are compared by id below, and history and bills name it.
    select stale.id into broken from stale left join fresh using (id) where fresh.id is null limit 1;
    if found then
        raise exception 'reservation % keeps its id', broken.id using errcode = 'ZR003';
    end if;
    select fresh.id, stale.state as from_state, fresh.state as to_state into broken
    from stale join fresh using (id)
    where stale.state <> fresh.state
      and (stale.state, fresh.state) not in (
          ('held', 'reconfirmed'), ('held', 'confirmed'), ('held', 'cancelled'),
          ('reconfirmed', 'confirmed'), ('reconfirmed', 'cancelled'),
          ('confirmed', 'cancelled'))
    limit 1;
    if found then
        raise exception 'reservation % cannot go from % to %',
            broken.id, broken.from_state, broken.to_state using errcode = 'ZR003';
    end if;
    perform guard_reservations(array(
        select fresh.id from fresh join stale using (id)
        where fresh.state <> 'cancelled'
          and (stale.state = 'cancelled'
               or fresh.server_id <> stale.server_id or fresh.user_id <> stale.user_id
               or fresh.start_at < stale.start_at or fresh.end_at > stale.end_at
               or fresh.busy_until > stale.busy_until)
        order by fresh.id));
    return null;
end $$;
create trigger reservations_guard_update after update on reservations
    referencing old table as stale new table as fresh
    for each statement execute function guard_update();

-- Only what is over and settled can be deleted.
create function guard_delete() returns trigger language plpgsql as $$
declare
    broken record;
begin
    select id, state into broken from gone
    where state in ('held', 'reconfirmed') or end_at > clock_timestamp()
    limit 1;
    if found then
        raise exception 'reservation % is not over: %', broken.id, broken.state using errcode = 'ZR003';
    end if;
    return null;
end $$;
create trigger reservations_guard_delete after delete on reservations
    referencing old table as gone for each statement execute function guard_delete();

-- The smallest id that can have been drawn at an instant: UUIDs of version 7 begin with its
-- milliseconds since the epoch.
create function oldest_id_of(at timestamptz) returns uuid language sql immutable as $$
    select (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- A bill is for a reservation that exists.
create function guard_billing_entries() returns trigger language plpgsql as $$
declare
    broken record;
begin
    select e.id, e.reservation_id into broken
    from entered e left join reservations r on r.id = e.reservation_id
    where r.id is null
    limit 1;
    if found then
        raise exception 'billing entry % is for reservation %, which does not exist',
            broken.id, broken.reservation_id using errcode = '23503';
    end if;
    return null;
end $$;
create trigger billing_entries_guard after insert on billing_entries
    referencing new table as entered for each statement execute function guard_billing_entries();

-- Lowering a capacity below what is booked is refused and lists the reservations in the way.
create function guard_server() returns trigger language plpgsql as $$
declare
    in_the_way text;
begin
    if tg_op = 'UPDATE' then
        new.busy_max_seconds := greatest(new.busy_max_seconds, old.busy_max_seconds);
        if new.rate_minor <> old.rate_minor or new.currency <> old.currency then
            new.tariff_version := old.tariff_version + 1;
        end if;
        if new.capacity < old.capacity then
            -- An older snapshot would not show what was booked since.
            if current_setting('transaction_isolation') <> 'read committed' then
                raise exception 'capacity can only be lowered at READ COMMITTED' using errcode = 'ZR001';
            end if;
            select string_agg(r.id::text, ', ' order by r.start_at, r.id) into in_the_way
            from reservations r
            where r.server_id = new.id and r.state <> 'cancelled' and r.busy_until > clock_timestamp()
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

create function refuse_rewrite() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'ZR004';
end $$;
create trigger history_append_only before update or delete or truncate on history
    for each statement execute function refuse_rewrite();
create trigger reservations_no_truncate before truncate on reservations
    for each statement execute function refuse_rewrite();
create trigger billing_entries_append_only before update or delete or truncate on billing_entries
    for each statement execute function refuse_rewrite();
