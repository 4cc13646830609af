-- Reservations that queries name, with their keys' epochs and secrets, and with what only history knows of an
-- operator's cancellation. $1 ids
select r.*, s.connection_url, s.view_url, a.epoch, a.secret_id, h.note, coalesce(h.from_state = 'confirmed', false) as credited
from reservations r join servers s on s.id = r.server_id
left join access a on a.reservation_id = r.id
left join history h on r.cancel_reason = 'operator'
    and h.reservation_id = r.id and h.to_state = 'cancelled'
where r.id = any ($1::uuid[])
