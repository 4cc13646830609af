-- The first server that takes requests, if any
select id from servers where open order by id limit 1
