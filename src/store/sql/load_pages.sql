-- Pages of users' reservations, newest first, each with one row more than requested. A page tells no keys, and
-- not what only history knows.
-- $1 indexes of queries, $2 terminals, $3 last ids of the previous pages or null, $4 limits, side by side
select asked.query, r.*, s.connection_url, s.view_url, null::integer as epoch, null::text as secret_id,
    null::text as note, false as credited
from unnest($1::integer[], $2::text[], $3::uuid[], $4::bigint[]) as asked (query, terminal_id, after, most)
join terminals t on t.id = asked.terminal_id
cross join lateral (
    select * from reservations
    where user_id = t.user_id and id < coalesce(asked.after, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    order by id desc limit asked.most + 1) r
join servers s on s.id = r.server_id
