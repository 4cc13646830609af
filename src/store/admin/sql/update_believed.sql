-- Sets retention's clock to the database's.
update timekeeping set believed_at = clock_timestamp(), read_at = clock_timestamp(), behind_seconds = 0
returning believed_at
