-- One row
select id from installation
