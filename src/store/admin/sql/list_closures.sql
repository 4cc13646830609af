-- Closures by start. $1 server or null for all, $2 whether to include past ones
select * from closures
where ($1::text is null or server_id = $1) and ($2 or end_at > clock_timestamp())
order by start_at, id
