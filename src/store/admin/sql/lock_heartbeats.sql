-- Locks the table of workers: no heartbeat is written until the transaction ends
lock table workers in share row exclusive mode
