-- Begins to count all use anew, or returns the count that is under way. $1 period, $2 zone
select * from begin_recount($1, $2)
