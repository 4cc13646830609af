-- Letters that nobody has looked after
select count(*) from dead_letters where state in ('open', 'replaying')
