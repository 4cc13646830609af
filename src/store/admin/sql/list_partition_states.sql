-- Partitions, their servers, and deadlines that should have been settled: how many, and the oldest.
-- $1 seconds after which a deadline counts as overdue, $2 most that are counted in each partition
select p.partition,
    (select count(*) from servers s where s.partition = p.partition) as servers,
    overdue.number, overdue.oldest_at
from topology t cross join lateral generate_series(0, t.partitions - 1) as p (partition)
cross join lateral (
    select count(*) as number, min(deadline_at) as oldest_at
    from (select deadline_at from reservations
          where partition = p.partition and state in ('held', 'reconfirmed')
            and deadline_at < clock_timestamp() - make_interval(secs => $1::double precision)
          order by deadline_at limit $2) due) overdue
order by p.partition
