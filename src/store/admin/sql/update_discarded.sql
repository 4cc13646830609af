-- $1 ids
update dead_letters set state = 'discarded', closed_at = clock_timestamp()
where id = any ($1::uuid[]) and state in ('open', 'replaying')
