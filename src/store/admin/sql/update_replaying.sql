-- Lets workers decide letters once more, as often as this account asks for it. $1 ids, $2 broker account
update dead_letters set state = 'replaying', attempts = attempts + 1, replay_account = $2
where id = any ($1::uuid[]) and state in ('open', 'replaying')
returning *
