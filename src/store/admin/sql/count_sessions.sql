-- Open sessions of a database role. $1 name
select count(*) from pg_stat_activity where usename = $1
