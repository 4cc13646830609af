//! What each streaming server asks, and how it is asked and told in return: pure mappings.
//!
//! A hook request becomes [`Heard`], a [`Outcome`] becomes a response. The list of clients and their end are
//! requests to the server's own interface. `tests/suite/gate/golden` shows all of them.

mod call;
mod form;
mod hook;
mod icecast;
mod mediamtx;
mod nginx_rtmp;
mod ovenmediaengine;
mod srs;
mod xml;

use strum::{Display, EnumString, VariantNames};

use crate::domain::admission::live::{Client, Role};
pub use call::{Call, Listing, Reply, Unreadable};
pub use hook::{Heard, Outcome, Request, Response};

/// A streaming server that a gate can guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Adapter {
    /// nginx with arut's RTMP module.
    NginxRtmp,
    /// Icecast 2.4.
    Icecast,
    /// MediaMTX.
    #[strum(serialize = "mediamtx")]
    MediaMtx,
    /// SRS.
    Srs,
    /// OvenMediaEngine.
    #[strum(serialize = "ovenmediaengine")]
    OvenMediaEngine,
}

impl Adapter {
    /// Reads a hook's request.
    pub fn hear(self, request: Request<'_>) -> Heard {
        match self {
            Self::NginxRtmp => nginx_rtmp::hear(request),
            Self::Icecast => icecast::hear(request),
            Self::MediaMtx => mediamtx::hear(request),
            Self::Srs => srs::hear(request),
            Self::OvenMediaEngine => ovenmediaengine::hear(request),
        }
    }

    /// The response to a request that was heard.
    pub fn respond(self, request: Request<'_>, outcome: Outcome) -> Response {
        match self {
            Self::NginxRtmp => nginx_rtmp::respond(request, outcome),
            Self::Icecast => icecast::respond(outcome),
            Self::MediaMtx => mediamtx::respond(request, outcome),
            Self::Srs => srs::respond(outcome),
            Self::OvenMediaEngine => ovenmediaengine::respond(request, outcome),
        }
    }

    /// What to ask for the list of clients, after what it has replied so far.
    pub fn list(self, replies: &[Reply]) -> Result<Listing, Unreadable> {
        match self {
            Self::NginxRtmp => nginx_rtmp::list(replies),
            Self::Icecast => icecast::list(replies),
            Self::MediaMtx => mediamtx::list(replies),
            Self::Srs => srs::list(replies),
            Self::OvenMediaEngine => ovenmediaengine::list(replies),
        }
    }

    /// What disconnects a client.
    pub fn kick(self, client: &Client) -> Call {
        match self {
            Self::NginxRtmp => nginx_rtmp::kick(client),
            Self::Icecast => icecast::kick(client),
            Self::MediaMtx => mediamtx::kick(client),
            Self::Srs => srs::kick(client),
            Self::OvenMediaEngine => ovenmediaengine::kick(client),
        }
    }

    /// Asks for what is left of a client, where the list forgets it before the server does.
    pub fn remnant(self, client: &Client) -> Option<Call> {
        match (self, client.role) {
            (Self::Icecast, Role::Publisher) => Some(icecast::listeners_of(client)),
            _ => None,
        }
    }

    /// Whether the reply to that says that nothing is left.
    pub fn has_forgotten(self, reply: &Reply) -> bool {
        match self {
            Self::Icecast => icecast::has_forgotten(reply),
            _ => true,
        }
    }
}
