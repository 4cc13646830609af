//! What became of a confirmed reservation's time.

use chrono::SecondsFormat;

use super::interval::Timestamp;

/// What gates saw of a reservation until its use is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whether gates watched the server without a break from the start to the end.
    pub watched: bool,
    /// If it was used: when and for how long.
    pub used: Option<Used>,
}

/// How a reservation's time was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Time in which it published, within the reserved time and each second once.
    pub seconds: i64,
    /// When it was first seen.
    pub first_at: Timestamp,
    /// When it was last seen.
    pub last_at: Timestamp,
}

/// What became of a confirmed reservation's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// It was used.
    Used(Used),
    /// Gates watched all of it, and nobody came.
    NoShow,
    /// Nobody came, as far as gates were there to see.
    Unobserved,
}

impl From<Seen> for Usage {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen { used: Some(used), .. } => Usage::Used(used),
            Seen { watched: true, .. } => Usage::NoShow,
            Seen { .. } => Usage::Unobserved,
        }
    }
}

impl Usage {
    /// The reason in the history.
    pub fn reason(self) -> &'static str {
        match self {
            Usage::Used(_) => "used",
            Usage::NoShow => "no_show",
            Usage::Unobserved => "unobserved",
        }
    }

    /// For people, in the history.
    pub fn note(self) -> Option<String> {
        let Usage::Used(Used { seconds, first_at, last_at }) = self else { return None };
        let [first, last] =
            [first_at, last_at].map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
        Some(format!("{seconds} s, first seen {first}, last seen {last}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_called_absent_whom_nobody_could_see() {
        let at = Timestamp::UNIX_EPOCH;
        let used = Used { seconds: 5, first_at: at, last_at: at };
        for (watched, used, expected) in [
            (true, Some(used), "used"),
            (false, Some(used), "used"),
            (true, None, "no_show"),
            (false, None, "unobserved"),
        ] {
            assert_eq!(Usage::from(Seen { watched, used }).reason(), expected);
        }
    }
}
