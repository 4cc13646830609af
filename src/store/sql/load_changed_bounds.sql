-- Future starts of quota periods that this session's zone rules put elsewhere than they are stored: how many,
-- the first of them, and the zone.
select count(*) as changed, min(starts_at)::text as stored_at,
       min(local_start at time zone quota_zone)::text as computed_at, min(quota_zone) as zone
from quota_bounds join policy using (generation)
where starts_at <> local_start at time zone quota_zone
  and greatest(starts_at, local_start at time zone quota_zone) > now()
