-- Uncounts one attempt at each of $2. $1 partition
update delivery_attempts set attempts = attempts - 1
where partition = $1 and fingerprint = any ($2::bytea[]) and attempts > 0
