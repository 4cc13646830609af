//! Whether a worker is alive and ready, for monitoring.
//!
//! [`tasks`] knows whether its tasks run, [`check`] what its last looks at the engines have shown; [`look`] looks.
//! [`http`] and [`supervisor`] report it, and ask no engine.

pub mod check;
pub mod http;
pub mod look;
pub mod report;
pub mod supervisor;
pub mod tasks;
