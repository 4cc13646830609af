//! Asks database, broker and management API, each for a bounded time. What one does not answer leaves out its
//! part.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::report::{Engine, Report};
use crate::broker::connection::Connection;
use crate::broker::depths::{self, Depths};
use crate::broker::inspect::{Inspector, Overview, QueueState};
use crate::cli::context::Context;
use crate::cli::exit::describe;
use crate::store::admin::dead_letters::count_open;
use crate::store::admin::pauses::{Pause, load_pauses};
use crate::store::admin::status::{
    OutboxDepth, PartitionState, Versions, WorkerLine, list_partition_states, list_workers,
    load_outbox_depth, load_versions,
};

/// Bound on what one engine is asked, connecting included, whose own bounds are shorter and whose errors
/// say more.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections that are kept from one look to the next.
#[derive(Default)]
pub(super) struct Sources {
    database: Option<Client>,
    broker: Option<Connection>,
}

/// What the database knows.
struct FromDatabase {
    versions: Versions,
    workers: Vec<WorkerLine>,
    partitions: Vec<PartitionState>,
    outbox: OutboxDepth,
    filed: i64,
    pauses: Vec<Pause>,
}

impl Sources {
    /// Also why an engine did not answer, the database first.
    pub async fn gather(&mut self, context: &Context) -> (Report, Option<anyhow::Error>) {
        let Self { database, broker } = self;
        let (stored, told) = tokio::join!(
            bounded("the database", ask_database(context, database)),
            bounded("the broker's management API", ask_management(context)),
        );
        // Without the database the broker is asked for one partition after the other.
        let partitions = stored.as_ref().ok().map(|stored| stored.partitions.len());
        let partitions = partitions.and_then(|number| i32::try_from(number).ok());
        let looked = bounded("the broker", ask_broker(context, broker, partitions)).await;
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION"),
            vhost: context
                .config
                .broker()
                .map(|broker| broker.vhost().to_owned())
                .unwrap_or_default(),
            database: engine(&stored, |stored| Some(stored.versions.server.clone())),
            broker: engine(&looked, |_| None),
            ..Report::default()
        };
        if context.config.management().is_ok() {
            report.management = Some(engine(&told, |_| None));
        }
        let mut failure = None;
        let stored = stored.map_err(|error| failure = Some(error)).ok();
        if stored.is_none() {
            *database = None;
        }
        let depths = looked.map_err(|error| failure = failure.take().or(Some(error))).ok();
        if depths.is_none() {
            *broker = None;
        }
        let (overview, queues) = told.ok().flatten().unzip();
        report.broker.version = overview.map(|overview: Overview| overview.rabbitmq_version);
        fill(&mut report, stored, depths.as_ref(), &queues.unwrap_or_default());
        (report, failure)
    }
}

fn fill(
    report: &mut Report,
    stored: Option<FromDatabase>,
    depths: Option<&Depths>,
    queues: &[QueueState],
) {
    if let Some(depths) = depths {
        report.add_queues(depths);
    }
    let Some(FromDatabase { versions, workers, partitions, outbox, filed, pauses }) = stored else {
        report.add_partitions(&[], depths, queues);
        return;
    };
    report.at = Some(versions.now);
    report.schema = versions.schema;
    report.topology = versions.topology;
    report.outbox = Some(outbox);
    report.filed_letters = Some(filed);
    report.pauses = pauses;
    report.add_workers(workers);
    report.add_deadlines(&partitions);
    report.add_partitions(&partitions, depths, queues);
}

fn engine<T>(asked: &Result<T>, version: impl FnOnce(&T) -> Option<String>) -> Engine {
    match asked {
        Ok(told) => Engine { reached: true, version: version(told), problem: None },
        Err(error) => Engine { problem: describe(error), ..Engine::default() },
    }
}

async fn bounded<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(ENGINE_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => bail!("{what}: no answer within {} s", ENGINE_TIMEOUT.as_secs()),
    }
}

async fn ask_database(context: &Context, kept: &mut Option<Client>) -> Result<FromDatabase> {
    let client = match kept.take().filter(|client| !client.is_closed()) {
        Some(client) => client,
        None => context.database().await?,
    };
    let stored = FromDatabase {
        versions: load_versions(&client).await?,
        workers: list_workers(&client).await?,
        partitions: list_partition_states(&client).await?,
        outbox: load_outbox_depth(&client).await?,
        filed: count_open(&client).await?,
        pauses: load_pauses(&client).await?,
    };
    *kept = Some(client);
    Ok(stored)
}

async fn ask_broker(
    context: &Context,
    kept: &mut Option<Connection>,
    partitions: Option<i32>,
) -> Result<Depths> {
    let connection = match kept.take().filter(Connection::is_alive) {
        Some(connection) => connection,
        None => context.broker("status").await?,
    };
    let depths = depths::look(&connection, partitions).await?;
    *kept = Some(connection);
    Ok(depths)
}

/// `None` if it is not configured.
async fn ask_management(context: &Context) -> Result<Option<(Overview, Vec<QueueState>)>> {
    let Ok(management) = context.config.management() else { return Ok(None) };
    let inspector = Inspector::new(management, context.config.broker()?)?;
    let (overview, queues) = tokio::join!(inspector.overview(), inspector.queues());
    Ok(Some((overview?, queues?)))
}
