-- Partitions with what depends on them
select p.partition, p.partition < t.open_partitions as open,
    (select count(*) from servers s where s.partition = p.partition) as servers,
    (select count(*) from reservations r
     where r.partition = p.partition and r.state in ('held', 'reconfirmed')) as unsettled,
    (select max(due_at) from timers where timers.partition = p.partition) as last_wake_up_at
from topology t cross join lateral generate_series(0, t.partitions - 1) as p (partition)
order by p.partition
