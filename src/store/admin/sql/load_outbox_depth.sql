-- What waits in the outbox, as far as it is counted: bills, notices, copies for subscribers, and the oldest.
-- $1 most messages that are counted
select count(*) filter (where kind = 'event' and not is_copy) as bills,
       count(*) filter (where kind = 'notice') as notices,
       count(*) filter (where is_copy) as copies,
       min(created_at) filter (where not is_copy) as oldest_at
from (select m.kind, o.is_copy, m.created_at
      from outbox o join outbox_messages m on m.id = o.outbox_message_id
      order by o.seq limit $1) waiting
