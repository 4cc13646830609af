-- Stores the bounds of quota periods by this session's zone rules, and counts all users' use by them.
select recount_use()
