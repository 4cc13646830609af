-- Live reservations of a server that a window touches, by start. The bound on the start is implied by the
-- end, and spares the past. $1 server, $2 start, $3 end
select r.id, r.user_id, r.state, r.start_at, r.end_at
from servers s join reservations r on r.server_id = s.id
where s.id = $1 and r.state <> 'cancelled' and r.start_at < $3 and r.end_at > $2
    and r.start_at > $2 - make_interval(secs => s.busy_max_seconds)
order by r.start_at, r.id
