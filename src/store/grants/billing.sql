-- Billing entries only: not even who reserved what, before it is billed.
grant usage on schema public to {role};
grant select on billing_entries to {role};
