//! Flag values that several server commands share.

use anyhow::Result;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use strum::VariantArray;

use crate::cli::exit::refuse;
use crate::domain::id::ServerId;
use crate::domain::money::decimals;
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

pub(super) fn currency(text: &str) -> Result<String, String> {
    match decimals(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("no currency of ISO 4217; give its code in capitals, such as EUR".to_owned()),
    }
}

/// Keeps the text: printing a parsed URL can change it.
pub(super) fn connection_url(text: &str) -> Result<String, String> {
    url::Url::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn unknown<T>(id: &ServerId) -> Result<T> {
    refuse(format!("server {id}: unknown; list servers with `holdfast server list`"))
}
