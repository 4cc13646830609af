-- The tariffs that a server has had, by version. $1 server, $2 most rows
select version, rate_minor, currency, from_at
from (select * from tariffs where server_id = $1 order by version desc limit $2) latest
order by version
