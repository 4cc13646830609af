-- Locks a server as every decision about it does. $1 server
select from servers where id = $1 for no key update
