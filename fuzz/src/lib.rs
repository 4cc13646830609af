//! Fuzz targets, each with what must hold for every input. `./dev fuzz` runs them with a nightly
//! compiler. The tests include these modules and run the checked-in corpus
//! (`tests/suite/fuzzed.rs`).

pub mod decode;
pub mod frames;
pub mod replies;
