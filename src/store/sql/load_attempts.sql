-- How often a worker began and did not finish each of $2, in that order. $1 partition
select coalesce(found.attempts, 0)
from unnest($2::bytea[]) with ordinality as wanted (fingerprint, place)
left join lateral (
    select attempts from delivery_attempts where partition = $1 and fingerprint = wanted.fingerprint offset 0
) found on true
order by wanted.place
