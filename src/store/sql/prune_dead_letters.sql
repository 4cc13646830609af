-- Deletes letters that were replayed or discarded long ago. $1 most rows
delete from dead_letters where ctid = any (array(
    select ctid from dead_letters
    where closed_at < (select retention_time()) - make_interval(secs => (select reservations_kept_seconds from policy))
    limit $1::bigint for update skip locked))
