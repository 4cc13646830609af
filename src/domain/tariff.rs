//! Prices (R6): `docs/decisions/0017-one-rate-in-minor-units.md`.

/// Frozen into a reservation when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    /// Minor units (cents) per hour.
    pub rate_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Raised by one when rate or currency changes.
    pub version: i32,
}

impl Tariff {
    /// In minor units, prorated by the second, rounded half up once. Bounded rates and lengths fit
    /// an `i64`.
    pub fn price_minor(&self, seconds: i64) -> i64 {
        let exact = i128::from(self.rate_minor) * i128::from(seconds);
        let rounded = (exact * 2 + 3_600) / 7_200;
        i64::try_from(rounded).expect("rates and lengths are bounded by the database")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn price_is_rounded_half_up_once() {
        for (rate, seconds, price) in [
            (1_000, 3_600, 1_000),
            (1_000, 1_800, 500),
            (1, 1_800, 1),     // exactly one half goes up
            (1, 1_799, 0),     // below one half goes down
            (333, 1_200, 111), // 111.0
            (100, 60, 2),      // 1.666...
            (0, 3_600, 0),
        ] {
            let tariff = Tariff { rate_minor: rate, currency: "EUR".into(), version: 1 };
            assert_eq!(tariff.price_minor(seconds), price, "{rate} for {seconds} s");
        }
    }
}
