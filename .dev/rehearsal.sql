-- What the step of a next version may look like, for `./dev rolling` where no real one has come: workers
-- of the version before go on without noticing. A column that may be empty, and an index on it.
alter table reservations add column rehearsal text;
create index reservations_rehearsed on reservations (rehearsal) where rehearsal is not null;
