-- What has died again meanwhile stays open. $1 ids
update dead_letters set state = 'replayed', closed_at = clock_timestamp()
where id = any ($1::uuid[]) and state = 'replaying'
