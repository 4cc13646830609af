-- Records a secret's fingerprint under its id, unless one is recorded. $1 id, $2 fingerprint
insert into access_secrets (id, fingerprint) values ($1, $2) on conflict (id) do nothing
