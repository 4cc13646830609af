//! Log lines about one message.

/// Logs at a level, with the fields by which a message is found: its partition (`None`: a query), its id, its
/// terminal, and the reservation that it names. They are read only if the line is written.
macro_rules! about {
    ($level:ident, $partition:expr, $received:expr, $($rest:tt)+) => {
        tracing::$level!(
            partition = $partition,
            message_id = $received.shown_id(),
            terminal = $received.shown_account(),
            reservation = $received.reservation().map(tracing::field::display),
            $($rest)+
        )
    };
}

pub(super) use about;
