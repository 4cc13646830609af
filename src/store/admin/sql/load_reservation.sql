-- A reservation with its server's URLs. $1 reservation
select r.*, s.connection_url, s.view_url
from reservations r join servers s on s.id = r.server_id where r.id = $1
