insert into access_use (reservation_id, gate, session, first_at, last_at, seconds, ended)
select reservation_id, $1, session, first_at, last_at, seconds, ended
from unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::integer[], $7::text[])
    as seen (reservation_id, session, first_at, last_at, seconds, ended)
on conflict (reservation_id, gate, session) do update
set last_at = excluded.last_at, seconds = excluded.seconds, ended = excluded.ended
