-- Takes away what every role of the cluster may do by default: make temporary tables, and tables in a
-- database that was upgraded from PostgreSQL 14.
do $$ begin
    execute format('revoke temporary on database %I from public', current_database());
    revoke create on schema public from public;
end $$
