-- Tells gates that something has changed for their servers. $1 servers
select pg_notify('holdfast_access', server) from unnest($1::text[]) as server
