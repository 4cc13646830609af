//! The servers' routes: as recorded, as wanted and as found.

use anyhow::Result;
use tokio_postgres::Client;

use crate::broker::bindings;
use crate::broker::routes::Route;
use crate::cli::context::Context;
use crate::cli::exit::CliError;
use crate::message::shape::Shape;
use crate::store::admin::topology::{Placed, list_places};
use crate::store::registry::load_topology;

/// The recorded topology, or how to get one.
pub(super) async fn recorded(database: &Client) -> Result<Shape> {
    match load_topology(database).await? {
        Some(shape) => Ok(shape),
        None => {
            let message = "no topology is recorded; run `holdfast topology apply`".to_owned();
            Err(CliError::CheckFailed(message).into())
        }
    }
}

/// Where the database wants each server's commands.
pub(in crate::cli) async fn wanted_routes(database: &Client) -> Result<Vec<Route>> {
    let places = list_places(database).await?;
    let route = |placed: Placed| Route { server: placed.server, partition: placed.partition };
    Ok(places.into_iter().map(route).collect())
}

/// Where the broker sends them; `None` without the management API.
pub(super) async fn found_routes(context: &Context) -> Result<Option<Vec<Route>>> {
    let Ok(management) = context.config.management() else { return Ok(None) };
    Ok(Some(bindings::found(management, context.config.broker()?).await?))
}
