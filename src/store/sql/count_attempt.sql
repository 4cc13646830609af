-- Counts an attempt at each of $2, which may contain duplicates. $1 partition
insert into delivery_attempts (partition, fingerprint, attempts)
select distinct $1::integer, fingerprint, 1 from unnest($2::bytea[]) as fingerprint
on conflict (partition, fingerprint) do update
    set attempts = delivery_attempts.attempts + 1, seen_at = clock_timestamp()
