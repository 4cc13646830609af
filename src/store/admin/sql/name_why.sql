-- Changes of this session are recorded with this reason. $1 why
select set_config('holdfast.why', $1, false)
