-- Notes that the use of reservations is recorded. Fails if it had been already. $1 reservations
with closed as (
    update access set close_at = null
    -- Not `is not null`: that would lead into the index of all that are to be closed.
    where reservation_id = any ($1::uuid[]) and coalesce(close_at, 'infinity') < 'infinity'
    returning reservation_id
)
select expect_rows((select count(*) from closed), cardinality($1))
