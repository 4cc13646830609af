-- Deletes what an interrupted count has left of these users. $1 generation, $2 users
delete from user_periods where generation = $1 and user_id = any ($2::text[])
