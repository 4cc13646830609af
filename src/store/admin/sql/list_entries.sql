-- A page of billing entries in order of time. $1 and $2 time and id of the entry before the first, $3 first
-- instant after, $4 user or null for all, $5 most rows
select * from billing_entries
where (created_at, id) > ($1, $2::uuid) and created_at < $3 and ($4::text is null or user_id = $4)
order by created_at, id limit $5
