//! Secrets are shown nowhere, and can be changed while a worker runs.

mod mangled;
mod rotation;
