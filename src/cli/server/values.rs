//! Flag values that several server commands share.

use anyhow::Result;
use clap::ValueEnum;
use clap::builder::{PossibleValue, RangedI64ValueParser};
use strum::VariantArray;

use crate::cli::exit::refuse;
use crate::domain::id::ServerId;
use crate::domain::server::LateBooking;

impl ValueEnum for LateBooking {
    fn value_variants<'a>() -> &'a [Self] {
        Self::VARIANTS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            LateBooking::Reject => "It is refused",
            LateBooking::Confirm => "It is held, confirmed and billed at once",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

pub(super) fn seconds(min: i64, max: i64) -> RangedI64ValueParser<i32> {
    clap::value_parser!(i32).range(min..=max)
}

pub(super) fn capacity() -> RangedI64ValueParser<i32> {
    clap::value_parser!(i32).range(1..=10_000)
}

pub(super) fn rate_minor() -> RangedI64ValueParser<i64> {
    clap::value_parser!(i64).range(0..=100_000_000_000)
}

pub(super) fn currency(text: &str) -> Result<String, String> {
    match text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        true => Ok(text.to_owned()),
        false => Err("three capital letters, such as EUR".to_owned()),
    }
}

/// Keeps the text: printing a parsed URL can change it.
pub(super) fn connection_url(text: &str) -> Result<String, String> {
    url::Url::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn unknown<T>(id: &ServerId) -> Result<T> {
    refuse(format!("server {id}: unknown; list servers with `holdfast server list`"))
}
