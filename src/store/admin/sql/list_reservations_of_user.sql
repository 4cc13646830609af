-- A page of a user's reservations by start. Nulls match all.
-- $1 user, $2 server or null, $3 states, $4 and $5 the window, $6 and $7 start and id of the last reservation of
-- the previous page, $8 most rows
select * from reservations
where user_id = $1 and ($2::text is null or server_id = $2) and state = any ($3::text[])
    and ($4::timestamptz is null or end_at > $4)
    and ($5::timestamptz is null or start_at < $5)
    and ($6::timestamptz is null or (start_at, id) > ($6, $7::uuid))
order by start_at, id limit $8
