-- The clock of record, read after the locks.
select clock_timestamp()
