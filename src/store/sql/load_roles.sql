-- Recorded roles that still exist
select r.name, r.kind from database_roles r
join pg_roles on rolname = r.name order by r.name
