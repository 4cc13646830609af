-- $1 name of a database role
select exists (select from pg_roles where rolname = $1)
