-- The clock of record, read after the locks, and a block of places in the decision order.
select clock_timestamp() as now, nextval('decision_block') as block
