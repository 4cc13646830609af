//! The number that a refusal speaks of.

use std::fmt;

use strum::{IntoStaticStr, VariantArray};

/// How a value must stand to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Relation {
    /// Not less.
    AtLeast,
    /// Not more.
    AtMost,
    /// More.
    MoreThan,
    /// A multiple, from the Unix epoch.
    MultipleOf,
}

impl Relation {
    /// Every word.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Reservations.
    Reservations,
    /// Bytes.
    Bytes,
    /// Characters.
    Characters,
}

impl Unit {
    /// Every word.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    fn symbol(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            other => other.as_str(),
        }
    }
}

/// A limit that a message does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its name in answers, such as `max_seconds`.
    pub name: &'static str,
    /// How the value must stand to it.
    pub relation: Relation,
    /// The limit, in `unit`.
    pub value: i64,
    /// What is counted.
    pub unit: Unit,
    /// What the message asked for, where that is one number.
    pub given: Option<i64>,
}

/// A sentence: `At most 7 200 s; given 9 000 s.`
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::AtLeast => "At least",
            Relation::AtMost => "At most",
            Relation::MoreThan => "More than",
            Relation::MultipleOf => "Multiples of",
        };
        let unit = self.unit.symbol();
        write!(f, "{relation} {} {unit}", grouped(self.value))?;
        match self.given {
            Some(given) => write!(f, "; given {} {unit}.", grouped(given)),
            None => f.write_str("."),
        }
    }
}

/// Digits in groups of three: `7 200`.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (7_200, "7 200"),
            (-86_400, "-86 400"),
            (i64::MIN, "-9 223 372 036 854 775 808"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_limit_is_a_sentence() {
        let limit = Limit {
            name: "max_seconds",
            relation: Relation::AtMost,
            value: 7_200,
            unit: Unit::Seconds,
            given: Some(9_000),
        };
        assert_eq!(limit.to_string(), "At most 7 200 s; given 9 000 s.");
        let holds = Limit { unit: Unit::Reservations, given: None, ..limit };
        assert_eq!(holds.to_string(), "At most 7 200 reservations.");
    }
}
