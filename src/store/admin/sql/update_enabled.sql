-- Enables or disables a terminal. $1 terminal, $2 whether its commands are decided
update terminals set enabled = $2 where id = $1
