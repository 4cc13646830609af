//! Contention: several requests for the same place at the same moment.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use holdfast::client::Command;
use tokio::time::sleep;
use uuid::Uuid;

use super::Chaos;
use crate::life::REQUESTED;
use crate::pick::Pick;
use crate::record::Intent;

/// Number of requests for a place, and the time between two: so short that the place becomes free
/// while some are being decided.
const ASKERS: u32 = 12;
const PAUSE: Duration = Duration::from_millis(8);

/// Reservations that leave no free place beside them.
const FULL: &str = "select r.id, r.server_id, r.start_at, r.end_at
    from reservations r join servers s on s.id = r.server_id
    where s.capacity = 1 and r.state <> 'cancelled'
      and r.deadline_at > clock_timestamp() + interval '2 s'
    order by random() limit 4";

/// An operator cancels reservations while others request their places. A refused request must have
/// been decided before the cancellation.
pub async fn freed_place(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let full = chaos.installation.database().await?.query(FULL, &[]).await?;
    for row in &full {
        let (id, server): (Uuid, String) = (row.get(0), row.get(1));
        let (start, end): (DateTime<Utc>, DateTime<Utc>) = (row.get(2), row.get(3));
        let mut asking = Vec::new();
        for turn in 0..ASKERS {
            let terminal = chaos.terminals[pick.index(chaos.terminals.len())].clone();
            let message_id = format!("freed-{}", Uuid::new_v4());
            let command = Command::request(message_id, &server, start, end);
            let intent = Intent { command, reservation: None, allowed: REQUESTED };
            asking.push(async move {
                sleep(PAUSE * turn).await;
                terminal.send(&intent).await
            });
        }
        let freeing = async {
            sleep(PAUSE * ASKERS / 2).await;
            chaos.ground.cancel_as_operator(id, "others want it".to_owned()).await
        };
        let (asked, freed) = tokio::join!(try_join_all(asking), freeing);
        asked?;
        freed?;
    }
    Ok(format!("{} places, {ASKERS} requests for each", full.len()))
}
