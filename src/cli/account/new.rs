//! An account to make.

use crate::cli::secret::UrlFile;

/// An account that is made, and where its URL goes.
pub(super) struct New<'a> {
    pub(super) name: &'a str,
    pub(super) url_file: &'a UrlFile,
    /// The account of the same kind that it is to replace.
    pub(super) beside: Option<&'a str>,
}
