-- Records what changes no table, with who and why. $1 kind, $2 object, $3 action, $4 what
select write_audit($1, $2, $3, null, $4::jsonb)
