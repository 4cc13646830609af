-- $1 scope
delete from pauses where scope = $1
