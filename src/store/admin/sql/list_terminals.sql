-- Terminals by id. $1 user or null for all
select id, user_id, enabled, created_at from terminals
where $1::text is null or user_id = $1 order by id
