//! URLs of servers, in which a reservation's id and its access key are filled in.

use uuid::Uuid;

/// Stands for the reservation's access key.
pub const KEY: &str = "{key}";

/// Stands for the reservation's id.
pub const RESERVATION: &str = "{reservation}";

/// Refuses braces around anything else: a misspelled placeholder would be told to terminals as it is.
pub fn check(template: &str) -> Result<(), String> {
    let rest = template.replace(KEY, "").replace(RESERVATION, "");
    match rest.contains(['{', '}']) {
        true => Err(format!("braces stand only in the placeholders {KEY} and {RESERVATION}")),
        false => Ok(()),
    }
}

/// Fills in the reservation, and the key if there is one. Without one its placeholder stays.
pub fn fill(template: &str, reservation: Uuid, key: Option<&str>) -> String {
    let filled = template.replace(RESERVATION, &reservation.to_string());
    match key {
        Some(key) => filled.replace(KEY, key),
        None => filled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_and_others_are_refused() {
        let template = "rtmp://cam.example/live/{key}?of={reservation}";
        assert_eq!(check(template), Ok(()));
        assert_eq!(
            fill(template, Uuid::nil(), Some("k")),
            fill(template, Uuid::nil(), None).replace(KEY, "k")
        );
        assert_eq!(fill("{reservation}", Uuid::nil(), None), Uuid::nil().to_string());
        for wrong in ["x{Key}", "x{}", "x}", "x{key", "{{key}}"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
