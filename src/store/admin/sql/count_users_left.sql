-- How many users a count has still to come to.
select count(*) from users where id > (select counted_until from recounts)
