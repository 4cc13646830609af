//! Failpoints for tests.

/// Aborts the process if `FAILPOINTS=name=return`. Needs the feature `failpoints`.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        (|| fail::fail_point!($name, |_| std::process::abort()))();
    };
    // For a message that crashes every worker.
    ($name:literal, $condition:expr) => {
        #[cfg(feature = "failpoints")]
        if $condition {
            $crate::crash_point!($name);
        }
    };
}

/// Whether a test skips the work here (`FAILPOINTS=name=return`).
#[macro_export]
macro_rules! left_undone {
    ($name:literal) => {{
        #[cfg(feature = "failpoints")]
        let asked = (|| {
            fail::fail_point!($name, |_| true);
            false
        })();
        #[cfg(not(feature = "failpoints"))]
        let asked = false;
        asked
    }};
}
