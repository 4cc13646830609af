-- The clock of record, read after the locks, and whether this server takes no writes: then it may have
-- been replaced, and what was read from it may be old.
select clock_timestamp(), current_setting('transaction_read_only') = 'on'
