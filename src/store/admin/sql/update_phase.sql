-- $1 phase before, $2 phase after
update moves set phase = $2, phase_at = clock_timestamp() where phase = $1
