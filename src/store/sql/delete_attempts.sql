-- Forgets messages that were processed or parked. $1 partition, $2 fingerprints
delete from delivery_attempts where partition = $1 and fingerprint = any ($2::bytea[])
