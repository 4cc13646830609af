-- Whether a role was made for a purpose, and still exists. $1 name, $2 kind
select exists (
    select from database_roles join pg_roles on rolname = name where name = $1 and kind = $2)
