//! The queries that terminals send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::command::Kind;
use super::fields::Fields;
use super::pattern;
use crate::domain::bounds;
use crate::domain::id::ServerId;
use crate::domain::interval::Timestamp;
use crate::domain::limit::{Limit, Relation, Unit};
use crate::domain::outcome::Refusal;
use crate::domain::query::{Asked, Page, Window};
use crate::domain::refusal::Code;

/// Default page size.
const PAGE_DEFAULT: i64 = 20;

/// Maximum page size: an answer of some 30 kB.
pub(crate) const PAGE_MAX: i64 = 50;

/// Longest `availability` window: that of the longest reservation.
const WINDOW_SECONDS_MAX: i64 = *bounds::LENGTH_SECONDS.end();

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
    #[schemars(with = "Uuid", regex(pattern = pattern::UUID))]
    pub after: Option<Uuid>,
}

/// Body of `<terminal>.availability`: asks for a server's free places over at most 31 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AvailabilityBody {
    /// The server's id.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
    pub server: String,
    /// First instant of the window.
    #[schemars(regex(pattern = pattern::TIMESTAMP))]
    pub start_at: Timestamp,
    /// First instant after the window, at most 31 days later.
    #[schemars(regex(pattern = pattern::TIMESTAMP))]
    pub end_at: Timestamp,
}

/// Reads the body of a query.
pub(super) fn read_body(kind: Kind, body: &[u8]) -> Result<Asked, Refusal> {
    let mut fields = Fields::parse(body)?;
    let asked = match kind {
        Kind::Show => Asked::Reservation(fields.uuid("reservation")?),
        Kind::List => Asked::Page(read_page(&mut fields)?),
        Kind::Availability => Asked::Availability(read_window(&mut fields)?),
        Kind::Request | Kind::Reconfirm | Kind::Withdraw => unreachable!("not a query"),
    };
    fields.finish()?;
    Ok(asked)
}

fn read_page(fields: &mut Fields) -> Result<Page, Refusal> {
    let limit = fields.integer("limit", 1..=PAGE_MAX, Unit::Reservations)?.unwrap_or(PAGE_DEFAULT);
    let limit = usize::try_from(limit).expect("within its bounds");
    let after = if fields.has("after") { Some(fields.uuid("after")?) } else { None };
    Ok(Page { after, limit })
}

fn read_window(fields: &mut Fields) -> Result<Window, Refusal> {
    let server = ServerId::parse(&fields.text("server")?)
        .map_err(|_| Refusal::of_field(Code::InvalidText, "server"))?;
    let interval = fields.interval()?;
    if interval.seconds() > WINDOW_SECONDS_MAX {
        let limit = Limit {
            name: "window_seconds",
            relation: Relation::AtMost,
            value: WINDOW_SECONDS_MAX,
            unit: Unit::Seconds,
            given: Some(interval.seconds()),
        };
        let field = Some("end_at".to_owned());
        return Err(Refusal { field, ..Refusal::beyond(Code::OutOfRange, limit) });
    }
    Ok(Window { server, interval })
}
