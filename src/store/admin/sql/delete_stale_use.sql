-- Deletes use of generations that are neither in force nor being counted. $1 most rows of either kind
delete from user_periods where ctid = any (array(
    (select ctid from user_periods where generation < (select generation from policy)
     order by generation, user_id, period_start limit $1)
    union all
    (select ctid from user_periods
     where generation > (select generation from policy)
       and generation < coalesce((select generation from recounts), 9223372036854775807)
     order by generation, user_id, period_start limit $1)))
