//! Ids of servers, users, terminals and reservations.

use std::fmt;
use std::sync::Arc;

use uuid::{Builder, Uuid};

use super::interval::Timestamp;

/// Longest id. Ids become grants and routing keys (at most 255 bytes with the prefix).
pub const ID_LEN_MAX: usize = 64;

/// Not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to {ID_LEN_MAX} characters of a-z, 0-9 and '-'")]
pub struct InvalidId;

/// Dots and regex characters would break routing keys and grants.
fn is_id(text: &str) -> bool {
    (1..=ID_LEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the form only.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                if is_id(text) { Ok(Self(text.into())) } else { Err(InvalidId) }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }
    };
}

id_type!(
    /// A processing server's id.
    ServerId
);
id_type!(
    /// A user's id: quota and billing.
    UserId
);
id_type!(
    /// A terminal's id and the name of its broker account.
    TerminalId
);

/// UUIDv5 namespace of the ids' hash.
const RESERVATIONS: Uuid = Uuid::from_u128(0x0d5c_51f4_6b0e_4e0c_8f0b_2b6a_94c1_7a35);

/// Twelve bits, more than a batch has inputs.
const INDEX_MAX: usize = 0xfff;

/// A UUIDv7 of `decided_at`, the database's clock: ids grow in decision order (P8). `index` is the
/// place in the batch. The rest is a hash of the terminal and message id, which are decided once.
pub fn reservation_id(
    decided_at: Timestamp,
    index: usize,
    terminal: &TerminalId,
    message_id: &str,
) -> Uuid {
    let hash = Uuid::new_v5(&RESERVATIONS, format!("{terminal}/{message_id}").as_bytes());
    let index = u16::try_from(index.min(INDEX_MAX)).expect("twelve bits");
    let mut rest = [0; 10];
    rest[..2].copy_from_slice(&index.to_be_bytes());
    rest[2..].copy_from_slice(&hash.as_bytes()[8..]);
    // No reservations before 1970.
    let millis = u64::try_from(decided_at.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &rest).into_uuid()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn reservation_ids_grow_with_the_time_of_decision_and_the_place_in_the_batch() {
        let terminal = TerminalId::parse("t-1").unwrap();
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        let id =
            |millis, index, message_id| reservation_id(at(millis), index, &terminal, message_id);
        let ids = [id(7, 0, "z"), id(7, 1, "a"), id(7, 300, "a"), id(7, 4_095, "b"), id(8, 0, "a")];
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for id in ids {
            assert_eq!(id.get_version_num(), 7);
        }
        assert_eq!(ids[4].get_timestamp().unwrap().to_unix(), (0, 8_000_000));
        assert_ne!(id(7, 0, "a"), id(7, 0, "b"));
    }

    #[test]
    fn form_is_checked() {
        for good in ["a", "gpu-1", "0", &"x".repeat(64)] {
            assert!(ServerId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a.b", "a_b", "ä", "a b", "a\0", &"x".repeat(65)] {
            assert_eq!(ServerId::parse(bad), Err(InvalidId), "{bad}");
        }
    }
}
