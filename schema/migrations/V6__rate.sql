-- Most commands per second that a partition takes from one terminal; null: as many as come.
alter table policy add column terminal_rate_max integer check (terminal_rate_max > 0);
