-- Records a role for later migrations. $1 name, $2 kind
insert into database_roles (name, kind) values ($1, $2)
on conflict (name) do update set kind = excluded.kind
