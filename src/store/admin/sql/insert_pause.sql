-- No row if it is paused already. $1 scope, $2 why
insert into pauses (scope, why) values ($1, $2) on conflict do nothing
