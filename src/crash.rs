//! Named points at which a test can kill the process.

/// Aborts the process here when a test asks for it (`FAILPOINTS=name=return`). Compiled in only
/// with the feature `failpoints`; otherwise nothing.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        (|| fail::fail_point!($name, |_| std::process::abort()))();
    };
    // Only if `condition` holds: a message that kills whoever touches it.
    ($name:literal, $condition:expr) => {
        #[cfg(feature = "failpoints")]
        if $condition {
            $crate::crash_point!($name);
        }
    };
}
