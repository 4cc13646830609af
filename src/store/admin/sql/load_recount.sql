-- The count of all use that is under way, or no row.
select * from recounts
