-- Billing entries in order of time. $1 first instant, $2 first instant after, $3 user or null for all
select * from billing_entries
where created_at >= $1 and created_at < $2 and ($3::text is null or user_id = $3)
order by created_at, id
