//! Forms of texts in commands, as regular expressions for the schema.
//!
//! A schema's `format` is an annotation that many validators do not check, so it is not enough.

/// A timestamp: RFC 3339 with `T` and `Z` in upper case or a numeric offset, at most nine digits of a second,
/// no second 60. That the day exists and that the instant lies in the years 0000 to 9999 of UTC is more than
/// a pattern can say; the decoder checks it.
pub(super) const TIMESTAMP: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\
    T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// A hyphenated UUID.
pub(super) const UUID: &str =
    "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
