-- Everything due at or before $2 is settled in partition $1.
delete from timers where partition = $1 and due_at <= $2
