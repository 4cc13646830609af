-- Deletes bounds of generations that are neither in force nor being counted.
delete from quota_bounds
where generation <> all (array(select generation from policy union all select generation from recounts))
