//! Flag values that several server commands share.

use anyhow::Result;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use strum::VariantArray;

use crate::cli::exit::refuse;
use crate::domain::bounds::URL_LEN_MAX;
use crate::domain::id::ServerId;
use crate::domain::money::decimals;
use crate::domain::server::LateBooking;
use crate::domain::url_template;

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
    url_template::check(text)?;
    if text.len() > URL_LEN_MAX {
        return Err(format!("{} bytes long; a URL has at most {URL_LEN_MAX}", text.len()));
    }
    url::Url::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Everybody may see it, so it has no key.
pub(super) fn view_url(text: &str) -> Result<String, String> {
    if text.contains(url_template::KEY) {
        return Err(format!(
            "{} must not be seen by viewers; use {}",
            url_template::KEY,
            url_template::RESERVATION
        ));
    }
    connection_url(text)
}

/// `none` becomes the empty text.
pub(super) fn view_url_or_none(text: &str) -> Result<String, String> {
    if text == "none" { Ok(String::new()) } else { view_url(text) }
}

pub(super) fn unknown<T>(id: &ServerId) -> Result<T> {
    refuse(format!("server {id}: unknown; list servers with `holdfast server list`"))
}
