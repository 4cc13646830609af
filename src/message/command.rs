//! The commands that terminals send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fields::Fields;
use crate::domain::id::ServerId;
use crate::domain::interval::{Instant, Interval};
use crate::domain::refusal::Code;
use crate::domain::world::{Action, Refusal};

/// The last word of a command's routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reserve a server for an interval.
    Request,
    /// Reconfirm a hold.
    Reconfirm,
    /// Give a reservation back.
    Withdraw,
    /// Ask for a reservation.
    Show,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Request, Kind::Reconfirm, Kind::Withdraw, Kind::Show];

    /// The word in routing keys, in `type` and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Reconfirm => "reconfirm",
            Kind::Withdraw => "withdraw",
            Kind::Show => "show",
        }
    }

    /// The kind of a routing key's last word.
    pub fn parse(word: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether the header `server` must be set: it picks the partition, and with it the place in
    /// line behind other commands for that server and before its deadlines.
    pub fn needs_server_header(self) -> bool {
        self != Kind::Show
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
    pub start_at: Instant,
    /// First instant after the reserved time, RFC 3339 with offset.
    pub end_at: Instant,
}

/// Body of `<terminal>.reconfirm`, `<terminal>.withdraw` and `<terminal>.show`: names a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationBody {
    /// The reservation's id, from the answer that accepted it.
    pub reservation: Uuid,
}

/// Reads the body of a command of `kind`; `server` is the header of that name.
pub fn read_body(kind: Kind, server: Option<&ServerId>, body: &[u8]) -> Result<Action, Refusal> {
    let mut fields = Fields::parse(body)?;
    let action = match kind {
        Kind::Request => {
            let (named, interval) = read_request(&mut fields)?;
            if server != Some(&named) {
                return Err(Refusal::of_field(Code::InconsistentMessage, "server"));
            }
            // The id is drawn here because deciding is pure. Only its uniqueness matters.
            Action::Request { candidate: Uuid::now_v7(), interval }
        }
        Kind::Reconfirm => Action::Reconfirm(fields.uuid("reservation")?),
        Kind::Withdraw => Action::Withdraw(fields.uuid("reservation")?),
        Kind::Show => Action::Show(fields.uuid("reservation")?),
    };
    fields.finish()?;
    Ok(action)
}

fn read_request(fields: &mut Fields) -> Result<(ServerId, Interval), Refusal> {
    let server = ServerId::parse(&fields.text("server")?)
        .map_err(|_| Refusal::of_field(Code::InvalidText, "server"))?;
    Ok((server, fields.interval()?))
}
