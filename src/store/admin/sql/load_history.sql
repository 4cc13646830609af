-- A reservation's history, oldest change first. One batch may write several changes with the same seq:
-- then the first state comes first and the cancellation last. $1 reservation
select * from history where reservation_id = $1
order by seq, from_state is not null, to_state = 'cancelled'
