-- Changes nothing. A transaction at REPEATABLE READ that does not see the mark fails when it locks one of these
-- users, since the row is newer than its snapshot. $1 users
update users set holds = holds where id = any ($1::text[])
