//! Secrets are shown nowhere, and can be changed while a worker runs.

mod keys;
mod mangled;
mod rotation;
