-- No queue took their message. $1 ids
update dead_letters set state = 'open' where id = any ($1::uuid[]) and state = 'replaying'
