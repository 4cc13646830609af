//! `holdfast gate`: who is admitted to a streaming server, and who must go.

mod adapters;
mod answers;
mod guarded;
mod icecast;
mod model;
mod nginx;
mod whole;
