//! Numbers on the command line, within the bounds of their quantity.

use clap::builder::{RangedI64ValueParser, TypedValueParser};

use crate::domain::bounds::Bounds;

/// Takes numbers within the bounds. The error names them.
pub(super) fn within<T>(bounds: Bounds) -> RangedI64ValueParser<T>
where
    T: TryFrom<i64> + Clone + Send + Sync + 'static,
    RangedI64ValueParser<T>: TypedValueParser,
{
    RangedI64ValueParser::new().range(bounds)
}
