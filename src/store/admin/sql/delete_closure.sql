-- $1 closure
delete from closures where id = $1 returning *
