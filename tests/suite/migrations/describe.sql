-- The schema of this database as SQL, a block of text per object, in an order in which it can be run.
-- Names are sorted bytewise, so that the order depends on no collation. The record of the migrations
-- themselves is not part of it.
with tables as (
    select c.oid, c.relname, c.reloptions
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> 'schema_migrations'
), columns as (
    select a.attrelid, a.attnum as place,
           format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
               || coalesce(' COLLATE ' || (select quote_ident(collname) from pg_collation c join pg_type t
                                           on t.oid = a.atttypid and t.typcollation <> c.oid
                                           where c.oid = a.attcollation), '')
               || case a.attidentity when 'a' then ' GENERATED ALWAYS AS IDENTITY' else '' end
               || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid, true), '')
               || case when a.attnotnull then ' NOT NULL' else '' end as line
    from pg_attribute a
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped
), constraints as (
    select conrelid, contype, conname, pg_get_constraintdef(oid, true) as definition
    from pg_constraint
    -- Newer versions of PostgreSQL list NOT NULL here as well.
    where contype in ('p', 'u', 'c', 'f')
), lines as (
    select attrelid as relid, 0 as part, place, '' as name, line from columns
    union all
    select conrelid, case contype when 'p' then 1 when 'u' then 2 else 3 end, 0, conname,
           format('CONSTRAINT %I %s', conname, definition)
    from constraints where contype <> 'f'
), objects as (
    select 1 as part, c.relname as name, '' as detail, format('CREATE SEQUENCE %I;', c.relname) as text
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'S'
      -- An identity column makes its own.
      and not exists (select from pg_depend where objid = c.oid and deptype = 'i')
    union all
    select 2, t.relname, '', format(E'CREATE TABLE %I (\n', t.relname)
        || string_agg('    ' || l.line, E',\n' order by l.part, l.place, l.name collate "C")
        || E'\n)' || coalesce(' WITH (' || array_to_string(t.reloptions, ', ') || ')', '') || ';'
    from tables t join lines l on l.relid = t.oid
    group by t.oid, t.relname, t.reloptions
    union all
    select 2, t.relname, i.relname, pg_get_indexdef(i.oid, 0, true) || ';'
    from tables t join pg_index x on x.indrelid = t.oid join pg_class i on i.oid = x.indexrelid
    where not exists (select from pg_constraint where conindid = i.oid and contype in ('p', 'u'))
    union all
    select 3, t.relname, c.conname, format('ALTER TABLE %I ADD CONSTRAINT %I %s;', t.relname, c.conname, c.definition)
    from tables t join constraints c on c.conrelid = t.oid
    where c.contype = 'f'
    union all
    select 3, v.relname, '', format(E'CREATE VIEW %I AS\n%s', v.relname, pg_get_viewdef(v.oid, true))
    from pg_class v
    where v.relnamespace = 'public'::regnamespace and v.relkind = 'v'
    union all
    select 4, p.proname, pg_get_function_identity_arguments(p.oid), rtrim(pg_get_functiondef(p.oid), E'\n') || ';'
    from pg_proc p
    where p.pronamespace = 'public'::regnamespace
    union all
    select 5, t.relname, g.tgname, pg_get_triggerdef(g.oid, true) || ';'
    from tables t join pg_trigger g on g.tgrelid = t.oid
    where not g.tgisinternal
)
select case when part = 2 and detail <> '' or part in (3, 5) and lag(part) over ordered = part then '' else E'\n' end || text
from objects
window ordered as (order by part, name collate "C", detail collate "C")
order by part, name collate "C", detail collate "C"
