-- Counts a server's unsettled reservations. None starts before its deadline, so none before the oldest deadline of
-- the partition's unsettled ones: that bounds the scan of the server's index. $1 server
select count(*)
from servers s join reservations r on r.server_id = s.id
where s.id = $1 and r.state in ('held', 'reconfirmed') and r.state <> 'cancelled'
    and r.start_at >= (select deadline_at from reservations
                       where partition = s.partition and state in ('held', 'reconfirmed')
                       order by deadline_at limit 1)
