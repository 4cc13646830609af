-- For how many seconds the oldest move of a server has been on its way; null if there is none
select extract(epoch from clock_timestamp() - min(started_at))::double precision from moves
