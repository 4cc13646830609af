-- The zones in which quota periods can begin, by name.
select name from pg_timezone_names where zone_is_named(name) order by name
