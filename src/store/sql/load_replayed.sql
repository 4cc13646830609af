-- Letters that an operator has had replayed, as the named account. $1 ids, $2 accounts, side by side
select l.* from dead_letters l join unnest($1::uuid[], $2::text[]) as named (id, account)
    on l.id = named.id and l.replay_account = named.account
where l.state in ('replaying', 'replayed')
