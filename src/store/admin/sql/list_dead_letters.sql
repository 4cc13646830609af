-- A page of dead letters in the order in which they died. $1 ids, $2 reasons, $3 account, $4 and $5 when they died, $6 states: null or empty matches all;
-- $7 and $8 time and id of the last one of the previous page, $9 most rows
select l.*, t.id is not null as known from dead_letters l left join terminals t on t.id = l.account
where (cardinality($1::uuid[]) = 0 or l.id = any ($1)) and (cardinality($2::text[]) = 0 or l.reason = any ($2))
    and ($3::text is null or l.account = $3) and ($4::timestamptz is null or l.died_at >= $4)
    and ($5::timestamptz is null or l.died_at < $5) and (cardinality($6::text[]) = 0 or l.state = any ($6))
    and ($7::timestamptz is null or (l.died_at, l.id) > ($7, $8::uuid))
order by l.died_at, l.id limit $9
