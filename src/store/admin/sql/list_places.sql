-- Servers, the partitions that the broker has to send their commands to, and their live reservations that
-- are not over. The bound on the start is implied by the end, and spares the past.
select s.id, coalesce(m.to_partition, s.partition) as partition,
    (select count(*) from reservations r where r.server_id = s.id and r.state <> 'cancelled'
         and r.start_at > now() - make_interval(secs => s.busy_max_seconds)
         and r.end_at > clock_timestamp()) as live
from servers s left join moves m on m.server_id = s.id and m.phase <> 'binding'
order by s.id
