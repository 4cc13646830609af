-- For this transaction. A page has few of all users, and the bounds of its periods are looked up one by one.
select set_config('enable_seqscan', 'off', true)
