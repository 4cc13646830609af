//! What the programs that exercise Holdfast share.

pub mod ports;
pub mod program;
