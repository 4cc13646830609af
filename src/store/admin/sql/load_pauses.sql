-- Pauses, and who made them. The scope of all partitions comes first.
select p.scope, p.why, p.paused_at,
    (select a.operator from audit a where a.kind = 'pause' and a.object_id = p.scope order by a.id desc limit 1) as operator
from pauses p order by p.scope <> 'all', length(p.scope), p.scope
