-- Everything due at or before $2 is settled in partition $1.
delete from wake_ups where partition = $1 and due_at <= $2
