-- Since when every answer is kept
select greatest(clock_timestamp(), retention_time()) - make_interval(secs => answers_kept_seconds) as oldest
from policy
