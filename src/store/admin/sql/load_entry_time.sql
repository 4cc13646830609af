-- $1 billing entry
select created_at from billing_entries where id = $1
