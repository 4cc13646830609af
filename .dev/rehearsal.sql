-- A migration that a next version could have, for `./dev rolling` where no real one follows: it adds what
-- workers of the version before do not notice, a column that may be null and an index on it.
alter table reservations add column rehearsal text;
create index reservations_rehearsed on reservations (rehearsal) where rehearsal is not null;
