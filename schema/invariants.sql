-- The invariants: each query returns zero rows when all is well, and otherwise names what is broken. Safe to
-- run against a live database, heavy on a large one. I2 and I3 judge by the current limits: after a capacity
-- or quota was lowered they also show what was right when it was decided. Pruned rows are not missed.

-- I1 no overbooking
with steps as (
    select server_id, start_at as at, 1 as step from reservations where state <> 'cancelled'
    union all
    select server_id, busy_until, -1 from reservations where state <> 'cancelled'
), depths as (
    -- At one instant ends come before starts, since intervals are half-open.
    select server_id, at, sum(step) over (partition by server_id order by at, step) as depth
    from steps
)
select distinct 'I1 overbooked' as broken, d.server_id || ' at ' || d.at as what
from depths d join servers s on s.id = d.server_id
where d.depth > s.capacity;

-- I2 no overbooking in any past state. A reservation lives in [seq, seq of its cancellation), and each
-- acceptance is judged at each start. Only an instant for which more reservations were ever accepted than
-- fit can have been overbooked.
with lives as materialized (
    select r.id, r.server_id, r.start_at, r.busy_until,
           min(h.seq) filter (where h.from_state is null) as from_seq,
           coalesce(min(h.seq) filter (where h.to_state = 'cancelled'), 9223372036854775807) as until_seq
    from reservations r join history h on h.reservation_id = r.id
    group by r.id
), steps as (
    select server_id, start_at as at, 1 as step from lives
    union all
    select server_id, busy_until, -1 from lives
), crowded as materialized (
    select distinct d.server_id, d.at
    from (select server_id, at, step, sum(step) over (partition by server_id order by at, step) as depth
          from steps) d
    join servers s on s.id = d.server_id
    where d.step = 1 and d.depth > s.capacity
), points as materialized (
    select x.server_id, x.from_seq as seq, c.at
    from crowded c join lives x on x.server_id = c.server_id
        and x.start_at <= c.at and x.busy_until > c.at
)
select 'I2 overbooked in the past', p.server_id || ' at decision ' || p.seq
from points p join servers s on s.id = p.server_id
join lives z on z.server_id = p.server_id and z.from_seq <= p.seq and z.until_seq > p.seq
    and z.start_at <= p.at and z.busy_until > p.at
group by p.server_id, p.seq, p.at, s.capacity
having count(distinct z.id) > s.capacity;

-- I3 quota, each reservation clipped to each period that it touches; the guard's counts are right, also those of
-- a recount that is under way, of the users that it has counted
with kept as materialized (
    select generation, quota_period, quota_zone, true as in_force, '~' collate "C" as until_user from policy
    union all
    select generation, quota_period, quota_zone, false, counted_until from recounts
), counted as materialized (
    select generation, user_id, period_start,
           sum(1000000 * extract(epoch from least(end_at, period_end) - greatest(start_at, period_start))) as us
    from kept join reservations on user_id <= until_user
    cross join lateral periods_in(generation, quota_period, quota_zone, start_at, end_at)
    where state <> 'cancelled'
    group by generation, user_id, period_start
), stored as materialized (
    select generation, user_id, period_start, reserved_us
    from kept join user_periods using (generation) where user_id <= until_user
)
select case when kept.in_force and c.us > 1000000 * coalesce(u.quota_seconds, policy.quota_default_seconds)
            then 'I3 over quota' else 'I3 use is not what is kept' end,
       user_id || ' from ' || period_start
from counted c full join stored s using (generation, user_id, period_start)
join kept using (generation) left join users u on u.id = user_id cross join policy
where (kept.in_force and c.us > 1000000 * coalesce(u.quota_seconds, policy.quota_default_seconds))
   or coalesce(c.us, 0) <> coalesce(s.reserved_us, 0);
select 'I3 holds are not what is kept', u.id
from users u left join (select user_id, count(*) as holds from reservations where state = 'held' group by user_id) h
    on h.user_id = u.id
where u.holds <> coalesce(h.holds, 0);

-- I9 history: legal changes, each from the state that the previous one led to, the last one as in the table
select 'I9 illegal change', reservation_id::text || ': ' || coalesce(from_state, '-') || ' to ' || to_state
from history
where (coalesce(from_state, '-'), to_state) not in (
    ('-', 'held'), ('held', 'reconfirmed'), ('held', 'confirmed'), ('held', 'cancelled'),
    ('reconfirmed', 'confirmed'), ('reconfirmed', 'cancelled'), ('confirmed', 'cancelled'))
  -- A line about a confirmed reservation changes nothing.
  and not (from_state = 'confirmed' and to_state = 'confirmed' and reason is not null);
with ordered as (
    select *, lag(to_state) over (partition by reservation_id
        order by seq, from_state is not null, to_state = 'cancelled') as before
    from history
)
select 'I9 broken chain', reservation_id::text from ordered where from_state is distinct from before;
select 'I9 history and table differ', r.id::text
from reservations r
where r.state is distinct from (
    select to_state from history h where h.reservation_id = r.id
    order by seq desc, from_state is null, to_state = 'cancelled' desc limit 1);

-- I10 confirmed: exactly one charge, for the reserved time at the frozen price; then cancelled: that charge
-- and one full credit; otherwise neither
select 'I10 charge does not fit the state', r.id::text
from reservations r
left join billing_entries c on c.reservation_id = r.id and c.kind = 'charge'
where (c.id is not null) <> exists (
    select from history h where h.reservation_id = r.id and h.to_state = 'confirmed');
select 'I10 charge of another time or price', r.id::text
from reservations r join billing_entries c on c.reservation_id = r.id
where (c.amount_minor, c.currency, c.tariff_version)
        is distinct from (r.price_minor, r.currency, r.tariff_version)
   or (c.kind = 'charge' and c.seconds <> extract(epoch from r.end_at - r.start_at));
select 'I10 credit does not fit', r.id::text
from reservations r
join billing_entries c on c.reservation_id = r.id and c.kind = 'charge'
left join billing_entries k on k.reservation_id = r.id and k.kind = 'credit'
where (r.state = 'cancelled') <> (k.id is not null) or k.charge_id <> c.id;

-- I11 one event per billing entry, under its id
select 'I11 billing entry without event', b.id::text
from billing_entries b left join outbox_messages m on m.id = b.id and m.kind = 'event'
where m.id is null
  and b.created_at > now() - make_interval(secs => (select reservations_kept_seconds from policy));
select 'I11 billing event without entry', m.id::text
from outbox_messages m left join billing_entries b on b.id = m.id
where m.kind = 'event' and m.type in ('reservation.confirmed', 'reservation.credited') and b.id is null;
select 'I11 two events of one kind', type || ' of ' || (body::jsonb ->> 'subject')
from outbox_messages
where kind = 'event'
group by type, body::jsonb ->> 'subject'
having count(*) > 1;

-- I13 deadlines: none settled early, none outstanding for long
select 'I13 settled early', h.reservation_id::text
from history h join reservations r on r.id = h.reservation_id
where h.actor = 'deadline' and (h.at < r.deadline_at or h.lateness_ms < 0);
select 'I13 outstanding', id::text from reservations
where state in ('held', 'reconfirmed') and deadline_at < clock_timestamp() - interval '60 s';

-- I14 no message waits for long to be published
select 'I14 not told', o.outbox_message_id::text
from outbox o join outbox_messages m on m.id = o.outbox_message_id
where m.created_at < clock_timestamp() - interval '60 s';

-- I15 accepted: exactly one reservation; refused: none
select 'I15 accepted without reservation', c.terminal_id || ' ' || c.message_id
from processed_commands c
where c.kind = 'request' and (c.outcome = 'accepted') <> exists (
    select from reservations r where r.terminal_id = c.terminal_id and r.message_id = c.message_id);
select 'I15 reservation that nobody asked for', r.id::text
from reservations r
where not exists (select from processed_commands c where c.terminal_id = r.terminal_id
    and c.message_id = r.message_id and c.kind = 'request' and c.outcome = 'accepted')
  and r.held_at > now() - make_interval(secs => (select answers_kept_seconds from policy));

-- I16 access: a key for what was confirmed and for nothing else, of a secret that is known, and its use
-- recorded once, soon after the end
select 'I16 key without confirmation', a.reservation_id::text
from access a
where not exists (select from history h where h.reservation_id = a.reservation_id and h.to_state = 'confirmed');
select 'I16 key of another server', a.reservation_id::text
from access a join reservations r on r.id = a.reservation_id
where a.server_id <> r.server_id;
select 'I16 key of an unknown secret', a.reservation_id::text
from access a
where a.secret_id is not null and a.secret_id not in (select id from access_secrets);
select 'I16 use not recorded', a.reservation_id::text
from access a join reservations r on r.id = a.reservation_id
where a.close_at < clock_timestamp() - interval '60 s' or (a.close_at is not null and r.state <> 'confirmed');
select 'I16 use recorded twice', reservation_id::text
from history
where from_state = 'confirmed' and to_state = 'confirmed' and reason in ('used', 'no_show', 'unobserved')
group by reservation_id
having count(*) > 1;

-- I18 no transaction left open, none prepared
select 'I18 prepared transaction', gid from pg_prepared_xacts where database = current_database();
select 'I18 idle in transaction', pid::text
from pg_stat_activity
where datname = current_database() and state like 'idle in transaction%'
  and state_change < clock_timestamp() - interval '60 s';

-- I19 an unsettled reservation is where its server's commands and wake-ups go, and moves end
select 'I19 in another partition than its server', r.id::text
from reservations r join servers s on s.id = r.server_id
where r.state in ('held', 'reconfirmed') and r.partition <> s.partition;
select 'I19 move that does not end', server_id from moves
where started_at < clock_timestamp() - interval '60 s';
