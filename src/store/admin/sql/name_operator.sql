-- Changes of this session are recorded in the operator's name. $1 name
select set_config('holdfast.operator', $1, false)
