-- Opens or closes a server. $1 server, $2 whether it takes requests
update servers set open = $2 where id = $1
