-- The clock of record, read after the locks, and whether this server is read-only. A read-only server may
-- have been replaced, and its rows may be old.
select clock_timestamp(), current_setting('transaction_read_only') = 'on'
