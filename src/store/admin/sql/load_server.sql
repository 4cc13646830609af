-- A server with its live reservations that are not over. $1 server
select s.*, (select to_partition from moves where server_id = s.id) as moving_to, (select count(*) from reservations r where r.server_id = s.id
    and r.state <> 'cancelled' and r.end_at > clock_timestamp()) as live_reservations
from servers s where s.id = $1
