-- Deletes what gates have watched as long ago as finished reservations are kept. $1 most rows
delete from gate_coverage where ctid = any (array(
    select ctid from gate_coverage
    where until_at < (select retention_time() - make_interval(secs => reservations_kept_seconds) from policy)
    limit $1::bigint for update skip locked))
