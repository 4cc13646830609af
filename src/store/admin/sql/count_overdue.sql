-- Unsettled reservations of partitions whose deadline has passed. $1 partitions
select p.partition, (select count(*) from reservations r
    where r.partition = p.partition and r.state in ('held', 'reconfirmed') and r.deadline_at < clock_timestamp()) as overdue
from unnest($1::integer[]) as p (partition)
order by p.partition
