//! What the programs that exercise Holdfast share.

pub mod program;
