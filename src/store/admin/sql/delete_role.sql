-- $1 name, $2 kind
delete from database_roles where name = $1 and kind = $2
