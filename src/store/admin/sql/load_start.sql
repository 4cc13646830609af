-- Where a page ends, for the next one to begin after it. $1 reservation
select start_at from reservations where id = $1
