-- Billing entries with these ids. $1 ids
select * from billing_entries where id = any($1)
