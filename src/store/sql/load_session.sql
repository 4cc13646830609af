-- How a new session is set. $1 names of settings
select name, current_setting(name, true) as value,
    current_setting('transaction_read_only')::boolean as read_only
from unnest($1) as name
