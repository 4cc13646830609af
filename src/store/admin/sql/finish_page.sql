-- The use of all marked users is right.
update recounts set counted_until = marked_until
