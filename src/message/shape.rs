//! The dimensions of a broker topology.

/// What differs between the topologies of installations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of partitions, 1 to 256.
    pub partitions: i32,
    /// Levels of the delay ladder, 1 to 24. Fixed by the first `topology apply`: wake-ups that are on
    /// their way spell their delay in so many bits.
    pub delay_levels: u32,
}
