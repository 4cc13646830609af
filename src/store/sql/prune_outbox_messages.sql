-- Events and notices that are out and have been kept for long enough. $1 most at once
delete from outbox_messages where ctid = any (array(
    select ctid from outbox_messages a
    where created_at < now() - make_interval(secs => (select reservations_kept_seconds from policy))
      and not exists (select from outbox o where o.message_id = a.id)
    limit $1::bigint for update skip locked))
