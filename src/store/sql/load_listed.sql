-- Reservations that queries name. $1 ids
select r.*, s.connection_url
from reservations r join servers s on s.id = r.server_id
where r.id = any ($1::uuid[])
