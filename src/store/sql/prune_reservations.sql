-- Deletes finished reservations that have been kept for long enough. Ids begin with the time at which they
-- were drawn, before the reservation's end, so only the oldest ids need a look. $1 most rows
delete from reservations where id = any (array(
    select id from reservations
    where id < (select oldest_id_of(retention_time() - make_interval(secs => reservations_kept_seconds))
                from policy)
      and end_at < (select retention_time() - make_interval(secs => reservations_kept_seconds) from policy)
      and state in ('confirmed', 'cancelled')
    order by id limit $1::bigint for update skip locked))
