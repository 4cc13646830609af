-- Under which conditions the database works, as this session sees them. One row
select clock_timestamp() as now, pg_backend_pid() as backend,
    current_setting('server_version') as server_version,
    current_setting('server_version_num')::integer as server_version_number,
    current_setting('fsync')::boolean as fsync, current_setting('full_page_writes')::boolean as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit,
    current_setting('default_transaction_isolation') as isolation,
    current_setting('autovacuum')::boolean as autovacuum,
    pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as read_only,
    coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as encrypted,
    inet_client_addr() is null or host(inet_client_addr()) in ('127.0.0.1', '::1') as is_local,
    current_setting('max_connections')::integer as connections_max,
    (select count(*) from pg_stat_activity where backend_type = 'client backend') as connections,
    pg_database_size(current_database()) as size_bytes,
    (select coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0)::double precision
     from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()) as transaction_seconds,
    (select coalesce(max(extract(epoch from clock_timestamp() - prepared)), -1)::double precision
     from pg_prepared_xacts where database = current_database()) as prepared_seconds,
    (select count(*) from pg_replication_slots where not active) as idle_slots,
    (select coalesce(max(pg_wal_lsn_diff(
        case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
        restart_lsn)), 0)::bigint from pg_replication_slots where not active) as slots_bytes
