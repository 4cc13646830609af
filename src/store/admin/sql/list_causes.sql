-- Dead letters by cause. $1 ids, $2 reasons, $3 account, $4 and $5 when they died, $6 states: null or empty matches all; $7 most rows
select l.reason, l.account, split_part(l.routing_key, '.', 2) as command, count(*) as letters,
    min(l.died_at) as first_at, max(l.died_at) as last_at
from dead_letters l
where (cardinality($1::uuid[]) = 0 or l.id = any ($1)) and (cardinality($2::text[]) = 0 or l.reason = any ($2))
    and ($3::text is null or l.account = $3) and ($4::timestamptz is null or l.died_at >= $4)
    and ($5::timestamptz is null or l.died_at < $5) and (cardinality($6::text[]) = 0 or l.state = any ($6))
group by l.reason, l.account, split_part(l.routing_key, '.', 2)
order by count(*) desc, l.reason, l.account, command limit $7
