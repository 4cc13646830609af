//! The rules behind the CHECK constraints of the tables that operators' commands write.

/// The rule in words, with its bounds; `None` for a constraint that no command can violate.
pub fn of_constraint(name: &str) -> Option<&'static str> {
    Some(match name {
        "policy_answers_kept_seconds_check" => {
            "answers are kept for 86400 to 3153600000 seconds, one day to 100 years"
        }
        "policy_check" => {
            "reservations are kept for at least 3456000 seconds (40 days), and not shorter than answers; \
             see `holdfast policy show`"
        }
        "policy_holds_default_max_check" => "the default limit of holds is 1 to 1000000",
        "policy_query_rate_max_check" => "a limit of queries per second is 1 to 1000000",
        "policy_quota_default_seconds_check" => "the default quota is 0 to 1000000000000 seconds",
        "policy_quota_period_check" => "a quota period is day, week or month",
        "policy_reservations_kept_seconds_check" => {
            "reservations are kept for 3456000 to 3153600000 seconds, 40 days to 100 years"
        }
        "policy_terminal_rate_max_check" => "a limit of commands per second is 1 to 1000000",
        "topology_check" => "between 1 and all of the partitions take new servers",
        "topology_delay_levels_check" => "there are 1 to 24 delay levels",
        "topology_partitions_check" => "there are 1 to 256 partitions",
        "servers_capacity_check" => "a capacity is 1 to 10000",
        "servers_busy_max_seconds_check" => {
            "a reservation with its gap occupies a server for at most 2764800 seconds, 32 days"
        }
        "servers_max_seconds_check" => "the longest reservation is 1 to 2678400 seconds, 31 days",
        "servers_tariff_version_check" => "a tariff's version is at least 1",
        "servers_check" => {
            "the longest reservation (--max-seconds) is not shorter than the shortest (--min-seconds), \
             and at most 2678400 seconds, 31 days; see `holdfast server show`"
        }
        "servers_currency_check" => "a currency is three capital letters, such as EUR",
        "servers_connection_url_check" => "a connection URL has 1 to 2048 bytes",
        "servers_early_seconds_check" => "a reservation is admitted 0 to 86400 seconds early",
        "servers_gap_seconds_check" => "the gap after a reservation is 0 to 86400 seconds",
        "servers_horizon_seconds_check" => "the horizon is 1 to 63072000 seconds, two years",
        "servers_id_check" => "a server's id is 1 to 64 characters of a-z, 0-9 and '-'",
        "servers_late_booking_check" => "late booking is reject or confirm",
        "servers_lead_seconds_check" => "the lead time is 0 to 31536000 seconds, one year",
        "servers_min_seconds_check" => "the shortest reservation is 1 to 2678400 seconds, 31 days",
        "servers_partition_check" => "a partition is 0 to 255",
        "servers_rate_minor_check" => "a rate is 0 to 100000000000 minor units per hour",
        "servers_reminder_seconds_check" => {
            "a reminder is 0 to 31536000 seconds before the deadline, at most one year"
        }
        "servers_slot_seconds_check" => "a slot is 1 to 86400 seconds",
        "servers_view_url_check" => {
            "a view URL has 1 to 2048 bytes, and no {key}, which viewers must not see"
        }
        "servers_viewers_max_check" => "a limit of viewers is 1 to 1000000",
        "moves_from_partition_check" | "moves_to_partition_check" => "a partition is 0 to 255",
        "moves_check" => "a server moves to another partition than its own",
        "closures_check" => {
            "a closure ends after it starts, and is between 1970-01-01 00:00:00 and 9999-12-31 23:59:59 UTC"
        }
        "users_holds_max_check" => "a user's limit of holds is 1 to 1000000",
        "users_id_check" => "a user's id is 1 to 64 characters of a-z, 0-9 and '-'",
        "users_quota_seconds_check" => "a user's quota is 0 to 1000000000000 seconds",
        "terminals_id_check" => "a terminal's id is 1 to 64 characters of a-z, 0-9 and '-'",
        "database_roles_name_check" => {
            "an account's name is 1 to 63 characters of a-z, 0-9 and '_', a letter first"
        }
        _ => return None,
    })
}
