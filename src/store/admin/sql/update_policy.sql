-- Null leaves a setting as it is; a rate limit of 0 removes the limit.
-- $1 to $8 the settings in the order of their columns, $9 the generation that counts by them
update policy set quota_period = coalesce($1, quota_period),
    quota_zone = coalesce($2, quota_zone),
    quota_default_seconds = coalesce($3, quota_default_seconds),
    holds_default_max = coalesce($4, holds_default_max),
    answers_kept_seconds = coalesce($5, answers_kept_seconds),
    reservations_kept_seconds = coalesce($6, reservations_kept_seconds),
    terminal_rate_max = nullif(coalesce($7, terminal_rate_max), 0),
    query_rate_max = nullif(coalesce($8, query_rate_max), 0),
    generation = coalesce($9, generation)
returning *
