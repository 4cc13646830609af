-- Deletes the timers of partition $1 up to the instant $2, which is settled.
delete from timers where partition = $1 and due_at <= $2
