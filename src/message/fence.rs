//! Fences: messages from workers to the tail of a partition that a server leaves.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::id::ServerId;
use crate::domain::input::Fence;

/// Internal: not part of the contract with terminals.
#[derive(Debug, Serialize, Deserialize)]
struct FenceBody {
    server: String,
    fence: Uuid,
}

/// The body of a fence.
pub fn encode(fence: &Fence) -> String {
    let body = FenceBody { server: fence.server.to_string(), fence: fence.id };
    serde_json::to_string(&body).expect("a fence always serializes")
}

/// `None`: not a fence.
pub fn decode(body: &[u8]) -> Option<Fence> {
    let FenceBody { server, fence } = serde_json::from_slice(body).ok()?;
    Some(Fence { server: ServerId::parse(&server).ok()?, id: fence })
}
