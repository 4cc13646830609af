-- Settings that decisions rest on and that were set for this database, or for one of Holdfast's accounts
select coalesce(r.rolname::text, 'all accounts') as account, split_part(setting, '=', 1) as name,
    split_part(setting, '=', 2) as value
from pg_db_role_setting s
left join pg_roles r on r.oid = s.setrole
cross join lateral unnest(s.setconfig) as setting
where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
  and (s.setrole = 0 or r.rolname::text in (select name from database_roles))
  and split_part(setting, '=', 1) in ('synchronous_commit', 'default_transaction_isolation')
order by 1, 2
