-- By how many seconds the database's clock was ahead of what retention believes, when a worker last looked
select extract(epoch from read_at - believed_at)::double precision as ahead_seconds from timekeeping
