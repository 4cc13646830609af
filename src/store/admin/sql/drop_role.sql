-- PostgreSQL takes no parameters here: see create_role. Only what the account was granted here goes with it.
do $$ begin
    if exists (select from pg_roles where rolname = '{role}') then
        revoke all on all tables in schema public from {role};
        revoke all on all sequences in schema public from {role};
        revoke all on schema public from {role};
        drop role {role};
    end if;
end $$
