-- A server with its live reservations that are not over. The bound on the start is implied by the end, and
-- spares the past. $1 server
select s.*, (select to_partition from moves where server_id = s.id) as moving_to,
    (select count(*) from reservations r where r.server_id = s.id and r.state <> 'cancelled'
         and r.start_at > now() - make_interval(secs => s.busy_max_seconds)
         and r.end_at > clock_timestamp()) as live_reservations
from servers s where s.id = $1
