//! Currencies of ISO 4217, and amounts as people write them.

use iso_currency::Currency;

/// Digits behind the decimal point; `None` for what is no currency of ISO 4217, or has no minor unit,
/// such as gold (`XAU`) and the code for tests (`XTS`).
pub fn decimals(code: &str) -> Option<u32> {
    let exact = code.bytes().all(|byte| byte.is_ascii_uppercase());
    Currency::from_code(code).filter(|_| exact)?.exponent().map(u32::from)
}

/// An amount of minor units as money, such as `12.34 EUR`, `1234 JPY` or `1.234 KWD`.
pub fn money(amount_minor: i128, code: &str) -> String {
    let Some(decimals) = decimals(code) else {
        return format!("{amount_minor} minor units of {code}");
    };
    let unit = 10_u128.pow(decimals);
    let sign = if amount_minor < 0 { "-" } else { "" };
    let (whole, part) = (amount_minor.unsigned_abs() / unit, amount_minor.unsigned_abs() % unit);
    match usize::try_from(decimals) {
        Ok(width @ 1..) => format!("{sign}{whole}.{part:0width$} {code}"),
        _ => format!("{sign}{whole} {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        for (amount, code, text) in [
            (1_234, "EUR", "12.34 EUR"),
            (5, "EUR", "0.05 EUR"),
            (0, "EUR", "0.00 EUR"),
            (-7, "EUR", "-0.07 EUR"),
            (1_234, "JPY", "1234 JPY"),
            (1_234, "KWD", "1.234 KWD"),
            (74_400_000_000_000, "CHF", "744000000000.00 CHF"),
            (i128::from(i64::MAX) * 2, "USD", "184467440737095516.14 USD"),
            // Typed into the database by hand.
            (1_234, "QQQ", "1234 minor units of QQQ"),
        ] {
            assert_eq!(money(amount, code), text);
        }
    }

    #[test]
    fn only_currencies_with_a_minor_unit_are_known() {
        for known in ["EUR", "USD", "JPY", "KWD", "CHF", "VES", "CLF"] {
            assert!(decimals(known).is_some(), "{known}");
        }
        for unknown in ["", "eur", "Eur", "EURO", "EU", "QQQ", "ABC", "XXX", "XTS", "XAU", "978"] {
            assert_eq!(decimals(unknown), None, "{unknown}");
        }
    }
}
