-- Another id for this installation; returns the former one and the new one. Locks its only row
with former as (select id from installation for update)
update installation set id = gen_random_uuid(), created_at = clock_timestamp()
from former
returning former.id as former, installation.id
