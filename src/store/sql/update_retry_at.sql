-- Makes messages due whose time is further ahead than any postponement: the clock was set back since.
-- $1 seconds. 'infinity' was set by hand and stays.
update outbox set retry_at = clock_timestamp()
where seq = any (array(
    select seq from outbox
    where not is_copy and retry_at > now() + make_interval(secs => $1::double precision)
      and retry_at < 'infinity'
    order by retry_at, seq for update skip locked)
|| array(
    select seq from outbox
    where is_copy and retry_at > now() + make_interval(secs => $1::double precision)
      and retry_at < 'infinity'
    order by retry_at, seq for update skip locked))
