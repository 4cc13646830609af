//! Names of servers, users and terminals.

use std::fmt;
use std::sync::Arc;

/// The longest id. Ids become routing keys (255 bytes at most, prefix included) and grants.
pub const ID_LEN_MAX: usize = 64;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to {ID_LEN_MAX} characters of a-z, 0-9 and '-'")]
pub struct InvalidId;

/// Dots and regex characters would break routing keys and broker grants, so they are not allowed.
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
            /// Checks the form; whether such a thing exists is the database's to say.
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
    /// A user's id: whose quota counts and who is billed.
    UserId
);
id_type!(
    /// A terminal's id, which is also the name of its broker account.
    TerminalId
);

#[cfg(test)]
mod tests {
    use super::*;

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
