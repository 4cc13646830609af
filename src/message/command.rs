//! The commands that terminals send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use super::fields::Fields;
use crate::domain::id::ServerId;
use crate::domain::input::{Action, Page, Window};
use crate::domain::interval::{Interval, Timestamp};
use crate::domain::outcome::Refusal;
use crate::domain::refusal::Code;

/// The last word of a command's routing key.
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

    /// Whether the header `server` is required. It selects the partition, and so orders the command
    /// among those for that server and its deadlines.
    pub fn needs_server_header(self) -> bool {
        matches!(self, Kind::Request | Kind::Reconfirm | Kind::Withdraw)
    }
}

/// Body of `<terminal>.request`: asks for a server and a half-open interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestBody {
    /// The server's id; the header `server` says the same.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
    pub server: String,
    /// First instant of the reserved time, RFC 3339 with offset.
    pub start_at: Timestamp,
    /// First instant after the reserved time, RFC 3339 with offset.
    pub end_at: Timestamp,
}

/// Body of `<terminal>.reconfirm`, `<terminal>.withdraw` and `<terminal>.show`: names a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationBody {
    /// The reservation's id, from the answer that accepted it.
    pub reservation: Uuid,
}

/// Default page size.
const PAGE_DEFAULT: i64 = 20;

/// Maximum page size: an answer of some 30 kB.
pub(crate) const PAGE_MAX: i64 = 50;

/// Longest `availability` window: 31 days.
const WINDOW_SECONDS_MAX: i64 = 2_678_400;

/// Body of `<terminal>.list`: asks for the user's reservations, newest first, page by page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListBody {
    /// Most reservations in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", range(min = 1, max = PAGE_MAX))]
    pub limit: Option<i64>,
    /// `next` of the page before; left out for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Uuid")]
    pub after: Option<Uuid>,
}

/// Body of `<terminal>.availability`: asks for a server's free places over at most 31 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AvailabilityBody {
    /// The server's id. The header `server` is not needed; if it is set, it says the same.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
    pub server: String,
    /// First instant of the window, RFC 3339 with offset.
    pub start_at: Timestamp,
    /// First instant after the window, RFC 3339 with offset.
    pub end_at: Timestamp,
}

/// `server` is the header of that name.
pub(super) fn read_body(
    kind: Kind,
    server: Option<&ServerId>,
    body: &[u8],
) -> Result<Action, Refusal> {
    let mut fields = Fields::parse(body)?;
    let action = match kind {
        Kind::Request => {
            let (named, interval) = read_request(&mut fields)?;
            if server != Some(&named) {
                return Err(Refusal::of_field(Code::InconsistentMessage, "server"));
            }
            Action::Request(interval)
        }
        Kind::Reconfirm => Action::Reconfirm(fields.uuid("reservation")?),
        Kind::Withdraw => Action::Withdraw(fields.uuid("reservation")?),
        Kind::Show => Action::Show(fields.uuid("reservation")?),
        Kind::List => read_list(&mut fields)?,
        Kind::Availability => read_availability(&mut fields, server)?,
    };
    fields.finish()?;
    Ok(action)
}

fn read_request(fields: &mut Fields) -> Result<(ServerId, Interval), Refusal> {
    let server = ServerId::parse(&fields.text("server")?)
        .map_err(|_| Refusal::of_field(Code::InvalidText, "server"))?;
    Ok((server, fields.interval()?))
}

fn read_list(fields: &mut Fields) -> Result<Action, Refusal> {
    let limit = fields.integer("limit", 1..=PAGE_MAX)?.unwrap_or(PAGE_DEFAULT);
    let limit = usize::try_from(limit).expect("within its bounds");
    let after = if fields.has("after") { Some(fields.uuid("after")?) } else { None };
    Ok(Action::List(Page { after, limit }))
}

fn read_availability(fields: &mut Fields, header: Option<&ServerId>) -> Result<Action, Refusal> {
    let (server, window) = read_request(fields)?;
    if header.is_some_and(|header| *header != server) {
        return Err(Refusal::of_field(Code::InconsistentMessage, "server"));
    }
    if window.seconds() > WINDOW_SECONDS_MAX {
        return Err(Refusal::of_field(Code::OutOfRange, "end_at"));
    }
    Ok(Action::Availability(Window { server, interval: window }))
}
