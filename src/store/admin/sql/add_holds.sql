-- Corrects counts of holds by what they were wrong when they were read. $1 users, $2 differences, side by side
update users set holds = users.holds + wrong.difference
from unnest($1::text[], $2::integer[]) as wrong (id, difference)
where users.id = wrong.id
