//! The commands that terminals send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use super::fields::Fields;
use super::pattern;
use crate::domain::input::Action;
use crate::domain::interval::Timestamp;
use crate::domain::outcome::Refusal;

/// The second word of a command's or query's routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// Reserve a server.
    Request,
    /// Reconfirm a hold.
    Reconfirm,
    /// Withdraw a reservation.
    Withdraw,
    /// Query a reservation.
    Show,
    /// Query the user's reservations.
    List,
    /// Query free places.
    Availability,
}

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word in routing keys, `type` and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The inverse of [`Kind::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    /// Queries have no server in their routing key, change nothing and are not ordered. Commands
    /// are ordered among those of their server and its deadlines.
    pub fn is_query(self) -> bool {
        matches!(self, Kind::Show | Kind::List | Kind::Availability)
    }
}

impl From<&Action> for Kind {
    fn from(action: &Action) -> Self {
        match action {
            Action::Request(_) => Kind::Request,
            Action::Reconfirm(_) => Kind::Reconfirm,
            Action::Withdraw(_) => Kind::Withdraw,
        }
    }
}

/// Body of `<terminal>.request.<server>`: asks for a half-open interval of the server's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestBody {
    /// First instant of the reserved time.
    #[schemars(regex(pattern = pattern::TIMESTAMP))]
    pub start_at: Timestamp,
    /// First instant after the reserved time, later than its start.
    #[schemars(regex(pattern = pattern::TIMESTAMP))]
    pub end_at: Timestamp,
}

/// Body of `<terminal>.reconfirm.<server>`, `<terminal>.withdraw.<server>` and `<terminal>.show`: names a
/// reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationBody {
    /// The reservation's id, from the answer that accepted it.
    #[schemars(regex(pattern = pattern::UUID))]
    pub reservation: Uuid,
}

/// Reads the body of a command.
pub(super) fn read_body(kind: Kind, body: &[u8]) -> Result<Action, Refusal> {
    let mut fields = Fields::parse(body)?;
    let action = match kind {
        Kind::Request => Action::Request(fields.interval()?),
        Kind::Reconfirm => Action::Reconfirm(fields.uuid("reservation")?),
        Kind::Withdraw => Action::Withdraw(fields.uuid("reservation")?),
        Kind::Show | Kind::List | Kind::Availability => unreachable!("not a command"),
    };
    fields.finish()?;
    Ok(action)
}
