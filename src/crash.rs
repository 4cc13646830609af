//! Named points at which a test can kill the process, or have it leave something undone.

/// Aborts the process here when a test asks for it (`FAILPOINTS=name=return`). Compiled in only
/// with the feature `failpoints`; otherwise nothing.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        (|| fail::fail_point!($name, |_| std::process::abort()))();
    };
    // Only if `condition` holds: a message that crashes each worker that processes it.
    ($name:literal, $condition:expr) => {
        #[cfg(feature = "failpoints")]
        if $condition {
            $crate::crash_point!($name);
        }
    };
}

/// Whether a test asks for something to be left undone here (`FAILPOINTS=name=return`).
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
