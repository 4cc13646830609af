//! Which installation a vhost belongs to.
//!
//! The exchange [`MARK`] names the owner in its argument `alternate-exchange`. The broker compares that
//! argument when the exchange is declared again, so of two installations only one can claim a vhost. The
//! exchange that it names exists, too: a worker's account may declare nothing, but may look that one up.
//!
//! See `docs/decisions/0025-an-installation-owns-its-vhost.md`.

use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use uuid::Uuid;

use super::connection::Connection;
use super::lookup::Lookup;
use super::{BrokerError, bounded};

/// The exchange whose alternate exchange is the owner's.
///
/// Names are short, and the owner's begins with its id: the broker cuts its answer, in which
/// [`owner`] reads that id, at 255 bytes.
pub const MARK: &str = "reservation.owner.v1";

/// No installation's exchange.
const UNOWNED: &str = "?";

const ACCESS_REFUSED: u16 = 403;
const PRECONDITION_FAILED: u16 = 406;

/// Whose a vhost is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// No installation has claimed it.
    Unclaimed,
    /// The installation that asks.
    This,
    /// Another one. `None`: the account may not find out which.
    Other(Option<Uuid>),
}

/// Why an installation leaves a vhost alone, and what to do.
pub fn belongs_to(vhost: &str, other: Option<Uuid>, installation: Uuid) -> String {
    let (owner, next) = match other {
        Some(other) => (
            format!("installation {other}"),
            "if that installation is gone for good, take the vhost over with `holdfast topology apply \
             --take-over`",
        ),
        None => (
            "another installation".to_owned(),
            "`holdfast topology verify`, with an administrator's AMQP_URL, names it",
        ),
    };
    format!(
        "vhost {vhost}: belongs to {owner}, and this database is installation {installation}. Check \
         AMQP_URL and DATABASE_URL; {next}"
    )
}

/// The exchange that exists while an installation owns the vhost.
pub fn exchange_of(installation: Uuid) -> String {
    format!("{installation}.{MARK}")
}

/// Both exchanges of an owner.
pub(super) fn names(installation: Uuid) -> [String; 2] {
    [MARK.to_owned(), exchange_of(installation)]
}

/// Finds out whose the vhost is. Any account may ask. It claims nothing.
pub async fn owner(connection: &Connection, installation: Uuid) -> Result<Owner, BrokerError> {
    let mut lookup = Lookup::open(connection).await?;
    let marked = lookup.has_exchange(MARK).await?;
    let ours = marked && lookup.has_exchange(&exchange_of(installation)).await?;
    lookup.close().await?;
    match (marked, ours) {
        (false, _) => Ok(Owner::Unclaimed),
        (true, true) => Ok(Owner::This),
        (true, false) => named(connection, installation).await,
    }
}

/// Reads the owner in the broker's refusal to declare [`MARK`] for somebody else.
async fn named(connection: &Connection, installation: Uuid) -> Result<Owner, BrokerError> {
    let channel = connection.create_channel().await?;
    match declare(&channel, MARK, Some(UNOWNED)).await {
        // It was gone in this moment.
        Ok(()) => {
            delete(&channel, MARK).await?;
            bounded("closing the channel", channel.close(200, "done".into())).await?;
            Ok(Owner::Unclaimed)
        }
        Err(error) if error.code() == Some(PRECONDITION_FAILED) => {
            Ok(match owner_in(&error.to_string()) {
                // Its claim was interrupted.
                Some(owner) if owner == installation => Owner::This,
                owner => Owner::Other(owner),
            })
        }
        Err(error) if error.code() == Some(ACCESS_REFUSED) => Ok(Owner::Other(None)),
        Err(error) => Err(error),
    }
}

/// The owner in a refusal of the broker.
fn owner_in(refusal: &str) -> Option<Uuid> {
    let (_, current) = refusal.split_once("current is")?;
    let (_, value) = current.split_once('\'')?;
    Uuid::try_parse(value.get(..36)?).ok()
}

/// Claims the vhost, unless another installation has. Repeatable.
pub async fn claim(connection: &Connection, installation: Uuid) -> Result<Owner, BrokerError> {
    let ours = exchange_of(installation);
    let channel = connection.create_channel().await?;
    match declare(&channel, MARK, Some(&ours)).await {
        Ok(()) => {}
        Err(error) if error.code() == Some(PRECONDITION_FAILED) => {
            return named(connection, installation).await;
        }
        Err(error) => return Err(error),
    }
    declare(&channel, &ours, None).await?;
    bounded("closing the channel", channel.close(200, "done".into())).await?;
    Ok(Owner::This)
}

/// Removes an owner's mark. Its workers leave the vhost.
pub async fn release(connection: &Connection, owner: Uuid) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    delete(&channel, &exchange_of(owner)).await?;
    delete(&channel, MARK).await?;
    bounded("closing the channel", channel.close(200, "done".into())).await
}

async fn declare(
    channel: &Channel,
    name: &str,
    alternate: Option<&str>,
) -> Result<(), BrokerError> {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        arguments.insert("alternate-exchange".into(), AMQPValue::LongString(alternate.into()));
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(name.into(), ExchangeKind::Fanout, options, arguments);
    bounded(format!("declaring exchange {name}"), declared).await
}

async fn delete(channel: &Channel, name: &str) -> Result<(), BrokerError> {
    let deleted = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
    bounded(format!("deleting exchange {name}"), deleted).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_owner() {
        let refusal = "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange \
                       'reservation.owner.v1' in vhost 'a': received the value '?' of type 'longstr' but \
                       current is the value '6f1b1f9e-5c0e-4b57-9a3c-0f4e7d1c2b3a.reservation.o...";
        let owner: Uuid = "6f1b1f9e-5c0e-4b57-9a3c-0f4e7d1c2b3a".parse().expect("an id");
        assert_eq!(owner_in(refusal), Some(owner));
        let short = "but current is '6f1b1f9e-5c0e-4b57-9a3c-0f4e7d1c2b3a.x'";
        assert_eq!(owner_in(short), Some(owner));
        for other in ["", "current is", "current is the value '6f1b1f9e-5c0e", "current is none"] {
            assert_eq!(owner_in(other), None, "{other}");
        }
    }
}
