//! `holdfast server show`, `close` and `open`.

use anyhow::Result;
use serde_json::json;

use super::closure;
use super::values::unknown;
use crate::cli::context::Context;
use crate::cli::exit::refusal;
use crate::cli::output::{fields, yes_or_no};
use crate::domain::id::ServerId;
use crate::domain::money::money;
use crate::domain::refusal::Code;
use crate::store::admin::servers::{self, ServerDetails};

pub(super) async fn run(context: &Context, id: &ServerId) -> Result<()> {
    let client = context.database().await?;
    let Some(server) = servers::load_server(&client, id).await? else {
        return unknown(id);
    };
    context.output.print(&server, || text(&server))
}

fn text(server: &ServerDetails) -> String {
    let seconds = |seconds: i32| format!("{seconds} s");
    let tariff = format!(
        "{} an hour, version {}",
        money(server.rate_minor.into(), &server.currency),
        server.tariff_version
    );
    let reminder = match server.reminder_seconds {
        0 => "never".to_owned(),
        early => format!("{early} s before the deadline"),
    };
    let partition = match server.moving_to {
        Some(to) => format!("{}, on its way to {to}", server.partition),
        None => server.partition.to_string(),
    };
    let head = fields(&[
        ("server", server.id.clone()),
        ("open", yes_or_no(server.open)),
        ("capacity", server.capacity.to_string()),
        ("live", format!("{} reservations", server.live_reservations)),
        ("tariff", tariff),
        ("slot", seconds(server.slot_seconds)),
        ("shortest", seconds(server.min_seconds)),
        ("longest", seconds(server.max_seconds)),
        ("gap", seconds(server.gap_seconds)),
        ("lead", seconds(server.lead_seconds)),
        ("reminder", reminder),
        ("horizon", seconds(server.horizon_seconds)),
        ("late booking", server.late_booking.clone()),
        ("connection", server.connection_url.clone()),
        ("view", server.view_url.clone().unwrap_or_else(|| "-".to_owned())),
        ("viewers", server.viewers_max.map_or("no limit".to_owned(), |most| most.to_string())),
        ("admitted early", seconds(server.early_seconds)),
        ("partition", partition),
    ]);
    match server.closures.as_slice() {
        [] => head,
        closures => format!("{head}\nClosures ahead:\n{}", closure::list_text(closures)),
    }
}

pub(super) async fn set_open(context: &Context, id: &ServerId, open: bool) -> Result<()> {
    let client = context.database().await?;
    if !servers::update_open(&client, id, open).await.map_err(refusal)? {
        return unknown(id);
    }
    // Count after closing, when nothing can be added any more.
    let Some(server) = servers::load_server(&client, id).await? else {
        return unknown(id);
    };
    let live = server.live_reservations;
    let value = json!({ "server": id.as_str(), "open": open, "live_reservations": live });
    context.output.print(&value, || match open {
        true => format!("server {id} is open: it takes new requests"),
        false => format!(
            "server {id} is closed: new requests are refused with {}; live reservations, which \
             stay: {live}",
            Code::ServerClosed
        ),
    })
}
