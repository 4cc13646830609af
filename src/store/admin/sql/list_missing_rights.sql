-- Rights that a recorded workers' account lacks, of those that each worker needs first
select r.name as account, n.right_name || ' on ' || n.table_name as lacks
from database_roles r
join pg_roles on rolname = r.name
cross join (values
    ('policy', 'select'), ('installation', 'select'), ('topology', 'select'), ('schema_migrations', 'select'),
    ('closures', 'select'), ('servers', 'select'), ('users', 'select'), ('user_periods', 'select'),
    ('terminals', 'select'), ('timekeeping', 'select'), ('quota_bounds', 'select'), ('moves', 'select'),
    ('moves', 'delete'), ('worker_accounts', 'select'), ('worker_accounts', 'insert'),
    ('reservations', 'select'), ('reservations', 'insert'), ('reservations', 'delete'),
    ('processed_commands', 'select'), ('processed_commands', 'insert'), ('processed_commands', 'delete'),
    ('outbox_messages', 'select'), ('outbox_messages', 'insert'), ('outbox_messages', 'delete'),
    ('history', 'insert'), ('billing_entries', 'insert'),
    ('outbox', 'select'), ('outbox', 'insert'), ('outbox', 'update'), ('outbox', 'delete'),
    ('timers', 'select'), ('timers', 'insert'), ('timers', 'update'), ('timers', 'delete'),
    ('sweeps', 'select'), ('sweeps', 'insert'), ('sweeps', 'update'), ('workers', 'select'),
    ('workers', 'insert'), ('workers', 'update'), ('workers', 'delete'),
    ('delivery_attempts', 'select'), ('delivery_attempts', 'insert'), ('delivery_attempts', 'update'),
    ('delivery_attempts', 'delete')
) as n (table_name, right_name)
where r.kind = 'worker' and not has_table_privilege(r.name::name, n.table_name, n.right_name)
order by 1, 2
