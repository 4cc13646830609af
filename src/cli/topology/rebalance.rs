//! `holdfast topology rebalance`.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::routes::recorded;
use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::moves::{self, Wanted, carry, check_size, plan};
use crate::cli::output::{hint, table};
use crate::cli::range::within;
use crate::domain::bounds;
use crate::store::admin::servers::count_unsettled;
use crate::store::admin::topology::{list_places, load_open_partitions, update_open_partitions};

#[derive(Args)]
pub(in crate::cli) struct Rebalance {
    /// Print the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Use only the first N partitions and empty the others, now and for new servers; default: as before
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::PARTITIONS))]
    partitions: Option<i32>,
}

#[derive(Serialize)]
struct Line {
    server: String,
    from: i32,
    to: i32,
}

pub(super) async fn run(context: &Context, rebalance: &Rebalance) -> Result<()> {
    let database = context.database().await?;
    let shape = recorded(&database).await?;
    let open = load_open_partitions(&database).await?;
    let wanted_open = rebalance.partitions.unwrap_or(open);
    if wanted_open > shape.partitions {
        return refuse(format!(
            "--partitions {wanted_open}: there are {}; add some with `holdfast topology apply --partitions \
             {wanted_open}`",
            shape.partitions
        ));
    }
    if rebalance.dry_run {
        let wanted = plan(&list_places(&database).await?, wanted_open);
        return context.output.print(&lines(&wanted), || text(&wanted));
    }
    let connection = context.own_broker(&database, "rebalance").await?;
    moves::lock(&database).await?;
    moves::finish_open(&database, &connection).await?;
    let wanted = plan(&list_places(&database).await?, wanted_open);
    for wanted in &wanted {
        check_size(&wanted.server, count_unsettled(&database, &wanted.server).await?)?;
    }
    // From here on, so that no new server goes where others leave.
    update_open_partitions(&database, wanted_open).await?;
    let total = wanted.len();
    carry(&database, &connection, &wanted, |done| {
        hint!("moved {done} of {total}");
    })
    .await?;
    context.output.print(&lines(&wanted), || match wanted.is_empty() {
        true => "balanced: no server was moved".to_owned(),
        false => text(&wanted),
    })
}

fn lines(wanted: &[Wanted]) -> Vec<Line> {
    let line = |wanted: &Wanted| Line {
        server: wanted.server.to_string(),
        from: wanted.from,
        to: wanted.to,
    };
    wanted.iter().map(line).collect()
}

fn text(wanted: &[Wanted]) -> String {
    if wanted.is_empty() {
        return "balanced: no server is to be moved".to_owned();
    }
    let row = |wanted: &Wanted| {
        vec![wanted.server.to_string(), wanted.from.to_string(), wanted.to.to_string()]
    };
    table(&["SERVER", "FROM", "TO"], &wanted.iter().map(row).collect::<Vec<_>>())
}
