//! The integration tests, one target so that they link once. Each module holds one subject.

mod model;
