-- The migrations that the database has, to compare them with the program's.
select version, checksum from schema_migrations
