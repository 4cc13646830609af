-- $1 user, $2 whether to set the quota, $3 quota or null, $4 whether to set the limit of holds, $5 limit or
-- null
update users set quota_seconds = case when $2 then $3 else quota_seconds end,
    holds_max = case when $4 then $5 else holds_max end
where id = $1
