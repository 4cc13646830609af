-- Deletes answers that have been kept for long enough. $1 most rows
delete from processed_commands where ctid = any (array(
    select ctid from processed_commands
    where decided_at < (select retention_time()) - make_interval(secs => (select answers_kept_seconds from policy))
    limit $1::bigint for update skip locked))
