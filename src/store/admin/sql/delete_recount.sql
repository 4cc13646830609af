-- Ends a count that is under way. Its use and its bounds are left behind.
delete from recounts
