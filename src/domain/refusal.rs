//! The closed list of refusal codes.

use strum::{Display, IntoStaticStr, VariantArray};

/// What a sender can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Retry {
    /// Change the message first.
    Never,
    /// Nothing was decided: resend later with the same message id.
    SameId,
    /// The refusal is stored: use a new message id.
    NewId,
}

impl Retry {
    /// Every word.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word used in answers.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

macro_rules! codes {
    ($($variant:ident, $retry:ident, $meaning:literal, $advice:literal;)*) => {
        /// Why a message was refused. A code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
        #[strum(serialize_all = "snake_case")]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// In the order of the checks. A body is checked field by field.
            pub const ALL: &[Self] = Self::VARIANTS;

            /// The code's word in messages.
            pub fn as_str(self) -> &'static str {
                self.into()
            }

            /// What the sender can do.
            pub fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry,)* }
            }

            /// Whether such a refusal is a decision that is stored under the message id. Others
            /// leave the id free (P2), or find another decision under it.
            pub fn is_stored(self) -> bool {
                self.retry() == Retry::NewId && self != Code::IdempotencyMismatch
            }

            /// What it means, one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning,)* }
            }

            /// What to do about it, one sentence.
            pub fn advice(self) -> &'static str {
                match self { $(Code::$variant => $advice,)* }
            }
        }
    };
}

codes! {
    // Envelope, in order.
    ForbiddenTerminal, Never,
        "The routing key names another terminal than the account that published.",
        "Publish with a routing key that begins with your account's name and a dot.";
    ForbiddenHeader, Never,
        "A header or property that terminals may not set: `priority`, `expiration`, `CC`, `BCC` or `x-*`.",
        "Leave the named one out.";
    MissingMessageId, Never,
        "The property `message_id` is not set.",
        "Set it to an id of your own, one per command.";
    InvalidMessageId, Never,
        "The message id is not 1 to 128 characters of `A-Z a-z 0-9 . _ : -`.",
        "Use such an id, for example a UUID.";
    UnsupportedContent, Never,
        "The content type is not `application/json`, or a content encoding is set.",
        "Send plain JSON in UTF-8.";
    BodyTooLarge, Never,
        "The body is larger than any command can be.",
        "Send the command alone.";
    UnknownCommand, Never,
        "The routing key's second word is no command that goes to a server, or no query.",
        "Use one of the commands listed in the contract.";
    // Decoding, field by field, in no order.
    InvalidEncoding, Never,
        "The body is not UTF-8 without a byte order mark.",
        "Encode it as UTF-8.";
    InvalidJson, Never,
        "The body is not one JSON object.",
        "Send exactly one JSON object.";
    DuplicateField, Never,
        "A field stands in the body more than once.",
        "Send each field once.";
    UnknownField, Never,
        "The command has no such field.",
        "Leave the named field out.";
    MissingField, Never,
        "A field, or a word of the routing key, that the command needs is missing.",
        "Add the named one.";
    InvalidType, Never,
        "A field has the wrong JSON type.",
        "Send the type that the command's schema names.";
    OutOfRange, Never,
        "A number is outside its bounds.",
        "Send a number within the bounds of the command's schema.";
    InvalidText, Never,
        "A text has a form that is not allowed, such as an id with other characters than `a-z 0-9 -`.",
        "Send the form that the command's schema names.";
    InvalidTimestamp, Never,
        "A timestamp is not RFC 3339 with upper-case `T`, an offset (`Z` or `+02:00`), at most nine digits of a second and no second 60.",
        "Write it like `2031-05-01T18:00:00Z`.";
    InvalidInterval, Never,
        "The interval is empty or inverted.",
        "Send an end after the start.";
    InconsistentMessage, Never,
        "Two parts of the message disagree: `type` and the routing key, or the routing key's server and the reservation's.",
        "Send the same value in both places.";
    RateLimited, SameId,
        "The terminal sends more than its share.",
        "Send the same message again after `retry_after_ms`.";
    // Deciding, in order.
    UnknownTerminal, SameId,
        "The service does not know the terminal; its database may be another one than the terminal's.",
        "Tell the operator, and keep the message: it can be sent again once the terminal is known.";
    TerminalDisabled, SameId,
        "An operator has disabled the terminal.",
        "Ask the operator; the same message can be sent again afterwards.";
    IdempotencyMismatch, NewId,
        "The message id was used before, with another command, server or body.",
        "Use a new message id for a new command.";
    UnknownServer, NewId,
        "There is no such server.",
        "Check the server's id.";
    WrongPartition, SameId,
        "The command came through another queue than its server's: the server was moved at this moment, or the command was sent with `BCC`.",
        "Send the same message again after `retry_after_ms`.";
    ServerClosed, NewId,
        "The server takes no new reservations.",
        "Choose another server, or ask again later under a new id.";
    OffGrid, NewId,
        "Start or end is not on the server's slot grid.",
        "Move both to multiples of `slot_seconds` since the Unix epoch.";
    TooShort, NewId,
        "The interval is shorter than the server allows.",
        "Ask for at least `min_seconds`.";
    TooLong, NewId,
        "The interval is longer than the server allows.",
        "Ask for at most `max_seconds`.";
    StartInPast, NewId,
        "The interval has already begun.",
        "Ask for a later start.";
    BeyondHorizon, NewId,
        "The start lies farther ahead than the server takes reservations.",
        "Ask again nearer to the start.";
    Closure, NewId,
        "The interval touches a maintenance window.",
        "Choose a time outside the window.";
    TooLateToReconfirm, NewId,
        "The reconfirmation deadline has already passed, and the server takes no late bookings.",
        "Ask for a later start.";
    TooManyHolds, NewId,
        "The user has too many reservations that are not reconfirmed.",
        "Reconfirm or withdraw some, then ask under a new id.";
    QuotaExceeded, NewId,
        "The user's reserved time in a period would exceed its limit.",
        "Ask for less, or for another period.";
    CapacityExceeded, NewId,
        "The server is taken at some instant of the interval.",
        "Choose another time or server, or ask again later under a new id.";
    UnknownReservation, NewId,
        "The user has no such reservation.",
        "Check the reservation's id.";
    AlreadyConfirmed, NewId,
        "The reservation has been confirmed and billed.",
        "Nothing is left to do; an operator can still cancel it.";
    AlreadyCancelled, NewId,
        "The reservation has been cancelled; `reason` says why.",
        "Ask for a new reservation.";
    // Last resort.
    InternalError, Never,
        "The message could not be decided and is parked for the operators.",
        "Report it to the operators with its message id.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_are_unique_and_plain() {
        let words: HashSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for word in words {
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
        }
    }
    #[test]
    fn what_the_rules_decide_is_stored() {
        let stored: Vec<&str> =
            Code::ALL.iter().filter(|code| code.is_stored()).map(|code| code.as_str()).collect();
        assert_eq!(
            stored.join(" "),
            "unknown_server server_closed off_grid too_short too_long start_in_past beyond_horizon \
             closure too_late_to_reconfirm too_many_holds quota_exceeded capacity_exceeded \
             unknown_reservation already_confirmed already_cancelled"
        );
    }
}
