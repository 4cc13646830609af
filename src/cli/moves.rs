//! What `server move`, `topology apply` and `topology rebalance` share: they carry servers to other
//! partitions, in rounds, and wait for the workers' part.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use tokio_postgres::Client;

use super::exit::{CliError, refuse};
use super::pause::check_decides;
use crate::broker::connection::Connection;
use crate::broker::lookup::Lookup;
use crate::broker::topology::partition_queue;
use crate::domain::id::ServerId;
use crate::engine::moves::{advance, settled};
use crate::store::admin::moves::{OpenMove, insert_moves};
use crate::store::admin::topology::{Placed, lock_topology};

/// Most messages that may wait in a partition that a server leaves. The server's new partition waits until
/// they are decided: a second or two at the usual speed.
pub(super) const BACKLOG_MAX: u32 = 2_000;

/// Most unsettled reservations of one server. They move in one transaction, in some seconds.
pub(super) const UNSETTLED_MAX: i64 = 50_000;

/// Servers in one round. Their new partitions wait while their bindings are changed one by one and until the
/// fences are read: with 100, requests took up to 4.5 s on two processors at half load.
const ROUND_MAX: usize = 20;

/// How long to wait for the workers' part of a round.
const ROUND_PATIENCE: Duration = Duration::from_secs(60);

/// A server and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) server: ServerId,
    pub(super) from: i32,
    pub(super) to: i32,
}

/// Fails if another command that changes bindings does not end.
pub(super) async fn lock(client: &Client) -> Result<()> {
    match lock_topology(client).await? {
        true => Ok(()),
        false => refuse("another command is changing servers or the topology; try again later"),
    }
}

/// Takes up the moves that an earlier command left, and waits for their end.
pub(super) async fn finish_open(client: &Client, connection: &Connection) -> Result<()> {
    advance(client, connection).await?;
    done(&settled(client, ROUND_PATIENCE).await?)
}

/// Moves servers, round by round. `told` hears how many are done.
pub(super) async fn carry(
    client: &Client,
    connection: &Connection,
    wanted: &[Wanted],
    mut told: impl FnMut(usize),
) -> Result<()> {
    let mut rest = wanted.to_vec();
    while !rest.is_empty() {
        let (round, later) = next_round(rest);
        let sources: BTreeSet<i32> = round.iter().map(|wanted| wanted.from).collect();
        for source in &sources {
            check_decides(client, *source).await?;
        }
        check_backlog(connection, &sources).await?;
        let servers: Vec<(ServerId, i32)> =
            round.iter().map(|wanted| (wanted.server.clone(), wanted.to)).collect();
        let begun = insert_moves(client, &servers).await?;
        if begun.len() < round.len() {
            let begun: BTreeSet<&str> = begun.iter().map(|begun| begun.server.as_str()).collect();
            let lost = round.iter().find(|wanted| !begun.contains(wanted.server.as_str()));
            let server = lost.map_or_else(String::new, |wanted| wanted.server.to_string());
            advance(client, connection).await?;
            return refuse(format!(
                "server {server}: was changed meanwhile and is not moved; run the command again"
            ));
        }
        advance(client, connection).await?;
        done(&settled(client, ROUND_PATIENCE).await?)?;
        rest = later;
        told(wanted.len() - rest.len());
    }
    Ok(())
}

/// In a round no partition is both left and entered: two could wait for each other.
fn next_round(wanted: Vec<Wanted>) -> (Vec<Wanted>, Vec<Wanted>) {
    let (mut left, mut entered) = (BTreeSet::new(), BTreeSet::new());
    let mut size = 0;
    wanted.into_iter().partition(|wanted| {
        let fits =
            size < ROUND_MAX && !entered.contains(&wanted.from) && !left.contains(&wanted.to);
        if fits {
            left.insert(wanted.from);
            entered.insert(wanted.to);
            size += 1;
        }
        fits
    })
}

async fn check_backlog(connection: &Connection, partitions: &BTreeSet<i32>) -> Result<()> {
    let mut lookup = Lookup::open(connection).await?;
    for partition in partitions {
        let queue = partition_queue(*partition);
        let waiting = lookup.queue(&queue).await?.map_or(0, |queue| queue.messages);
        if waiting > BACKLOG_MAX {
            return refuse(format!(
                "queue {queue}: {waiting} messages wait, expected at most {BACKLOG_MAX}; a server that \
                 leaves it would hold up its new partition until they are decided. Try again when the \
                 workers have caught up"
            ));
        }
    }
    Ok(lookup.close().await?)
}

/// Refuses what would move in a transaction that is too long.
pub(super) fn check_size(server: &ServerId, unsettled: i64) -> Result<()> {
    if unsettled > UNSETTLED_MAX {
        return refuse(format!(
            "server {server}: has {unsettled} unsettled reservations, expected at most {UNSETTLED_MAX} for a \
             move; try again when some are settled"
        ));
    }
    Ok(())
}

fn done(open: &[OpenMove]) -> Result<()> {
    let Some(first) = open.first() else { return Ok(()) };
    Err(CliError::CheckFailed(format!(
        "moves are not over after {} s: {}, the first is server {} from partition {} to {}. Workers end them \
         once they have decided what waits in the old partition; are workers running?",
        ROUND_PATIENCE.as_secs(),
        open.len(),
        first.server,
        first.from,
        first.to
    ))
    .into())
}

/// Which servers to move so that partitions are about equally busy, and those from `open` on are empty.
/// A server weighs one, and one more for each live reservation.
pub(super) fn plan(places: &[Placed], open: i32) -> Vec<Wanted> {
    let weight = |live: i64| live + 1;
    let mut loads: Vec<i64> = vec![0; usize::try_from(open).unwrap_or(1)];
    let mut homeless = Vec::new();
    for placed in places {
        match usize::try_from(placed.partition).ok().and_then(|index| loads.get_mut(index)) {
            Some(load) => *load += weight(placed.live),
            None => homeless.push(placed),
        }
    }
    homeless.sort_by_key(|placed| (-placed.live, placed.server.clone()));
    let mut wanted: Vec<Wanted> = Vec::new();
    for placed in homeless {
        let to = lightest(&loads);
        loads[to] += weight(placed.live);
        wanted.push(moved(placed, to));
    }
    let mut stay: Vec<_> = places.iter().filter(|placed| placed.partition < open).collect();
    stay.sort_by_key(|placed| (-placed.live, placed.server.clone()));
    for placed in stay {
        let from = usize::try_from(placed.partition).unwrap_or(0);
        let to = lightest(&loads);
        // Only if both are nearer to each other afterwards.
        if loads[to] + weight(placed.live) < loads[from] {
            loads[from] -= weight(placed.live);
            loads[to] += weight(placed.live);
            wanted.push(moved(placed, to));
        }
    }
    wanted
}

fn lightest(loads: &[i64]) -> usize {
    (0..loads.len()).min_by_key(|index| (loads[*index], *index)).unwrap_or(0)
}

fn moved(placed: &Placed, to: usize) -> Wanted {
    Wanted {
        server: placed.server.parse().expect("a CHECK keeps ids valid"),
        from: placed.partition,
        to: i32::try_from(to).unwrap_or(i32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(server: &str, partition: i32, live: i64) -> Placed {
        Placed { server: server.to_owned(), partition, live }
    }

    /// Where each server is once the plan is carried out, and what each partition then has to do.
    fn carried(places: &[Placed], wanted: &[Wanted], open: i32) -> Vec<i64> {
        let mut loads = vec![0; usize::try_from(open).unwrap()];
        for placed in places {
            let moved = wanted.iter().find(|wanted| wanted.server.as_str() == placed.server);
            let partition = moved.map_or(placed.partition, |moved| moved.to);
            loads[usize::try_from(partition).unwrap()] += placed.live + 1;
        }
        loads
    }

    #[test]
    fn a_plan_makes_partitions_about_equally_busy() {
        let mut places: Vec<Placed> = (0..40).map(|n| placed(&format!("s{n}"), n % 2, 0)).collect();
        places.push(placed("busy", 0, 9));
        let wanted = plan(&places, 8);
        let loads = carried(&places, &wanted, 8);
        assert_eq!(loads.iter().sum::<i64>(), 50);
        assert!(loads.iter().all(|load| (5..=10).contains(load)), "{loads:?}");
        assert!(wanted.iter().all(|wanted| wanted.from != wanted.to));
        // Carried out, it leaves nothing to do.
        let after: Vec<Placed> = places
            .iter()
            .map(|placed| {
                let moved = wanted.iter().find(|wanted| wanted.server.as_str() == placed.server);
                let partition = moved.map_or(placed.partition, |moved| moved.to);
                Placed { partition, ..placed.clone() }
            })
            .collect();
        assert_eq!(plan(&after, 8), []);
    }

    #[test]
    fn a_plan_empties_what_is_not_open() {
        let places: Vec<Placed> = (0..12).map(|n| placed(&format!("s{n}"), n % 4, 1)).collect();
        let wanted = plan(&places, 3);
        let left: BTreeSet<i32> = wanted.iter().map(|wanted| wanted.from).collect();
        assert_eq!((wanted.len(), left), (3, BTreeSet::from([3])));
        assert_eq!(carried(&places, &wanted, 3), [8, 8, 8]);
    }

    #[test]
    fn no_partition_is_left_and_entered_in_a_round() {
        let wanted = |from, to| Wanted { server: "s".parse().unwrap(), from, to };
        let all = vec![wanted(0, 1), wanted(1, 2), wanted(0, 2), wanted(2, 0)];
        let (round, later) = next_round(all);
        assert_eq!(round, [wanted(0, 1), wanted(0, 2)]);
        assert_eq!(later, [wanted(1, 2), wanted(2, 0)]);
        let many = vec![wanted(0, 1); ROUND_MAX + 1];
        let (round, later) = next_round(many);
        assert_eq!((round.len(), later.len()), (ROUND_MAX, 1));
    }
}
