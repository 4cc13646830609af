-- Suspects whose message is long gone. $1 most at once
delete from suspects where ctid = any (array(
    select ctid from suspects where seen_at < now() - interval '7 days'
    limit $1::bigint for update skip locked))
