-- All broker accounts that workers use or used
select name from worker_accounts
