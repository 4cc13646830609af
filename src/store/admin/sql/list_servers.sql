-- All servers with their live reservations that are not over. The bound on the start is implied by the end,
-- and spares the past.
select s.id, s.open, s.capacity, s.rate_minor, s.currency, s.lead_seconds, s.connection_url, s.partition,
    s.view_url, s.viewers_max, s.early_seconds,
    (select count(*) from reservations r where r.server_id = s.id and r.state <> 'cancelled'
         and r.start_at > now() - make_interval(secs => s.busy_max_seconds)
         and r.end_at > clock_timestamp()) as live_reservations
from servers s order by s.id
