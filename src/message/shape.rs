//! The dimensions of a broker topology.

/// Fixed by the first `topology apply`: otherwise servers would move between partitions and lose
/// the order of their commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of partitions, 1 to 256.
    pub partitions: i32,
    /// Levels of the delay ladder, 1 to 24.
    pub delay_levels: u32,
}
