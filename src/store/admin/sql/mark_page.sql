-- From now on the guard keeps the use of users up to $1 in both generations.
update recounts set marked_until = $1, marks = marks + 1 returning marks
