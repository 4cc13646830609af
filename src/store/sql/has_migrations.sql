-- Whether any migration was applied
select to_regclass('schema_migrations') is not null
