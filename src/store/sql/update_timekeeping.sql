-- Advances retention's clock, and stores the bounds of quota periods that come within reach. Returns by how
-- many seconds the database's clock is ahead of retention's. $1 measured seconds since the last call
select advance_retention_clock($1::double precision), extend_quota_bounds()::text
