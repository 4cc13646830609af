-- $1 id
select created_at from outbox_messages where id = $1 and kind = 'event'
