-- The accounts that work with this database, so that a later step can give them what it adds.
create table database_roles (
    name       text primary key check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    kind       text not null check (kind in ('worker', 'billing')),
    created_at timestamptz not null default clock_timestamp()
);
