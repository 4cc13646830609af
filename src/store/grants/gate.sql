-- A gate reads who is admitted, and neither who that is nor what it costs. It records what it saw: `on conflict`
-- takes the right to read.
grant usage on schema public to {role};
grant select on admissions to {role};
grant select, insert, update on access_use, gate_coverage to {role};
