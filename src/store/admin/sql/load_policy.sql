-- The policy is one row.
select * from policy
