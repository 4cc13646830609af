-- Deletes published events and notices that have been kept for long enough. $1 most rows
delete from outbox_messages where ctid = any (array(
    select ctid from outbox_messages m
    where created_at < (select retention_time()) - make_interval(secs => (select reservations_kept_seconds from policy))
      and not exists (select from outbox o where o.outbox_message_id = m.id)
    limit $1::bigint for update skip locked))
