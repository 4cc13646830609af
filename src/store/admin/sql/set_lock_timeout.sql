-- Bounds the waits for locks of this transaction. $1 with its unit
select set_config('lock_timeout', $1, true)
