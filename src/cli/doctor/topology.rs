//! What is declared on the vhost, whose it is, and what others make of it.

use anyhow::Result;
use tokio_postgres::Client;

use super::engines::Engines;
use super::finding::{Check, Finding, bounded, named};
use crate::broker::connection::{Connection, Endpoint};
use crate::broker::inspect::{Inspector, QueueState};
use crate::broker::installation::{self, Owner};
use crate::broker::management::Address;
use crate::broker::policies::{self, Policies};
use crate::broker::routes::{Difference, Route};
use crate::broker::topology::reply_queue;
use crate::broker::{bindings, declare, declared, reply_queues};
use crate::cli::context::Context;
use crate::cli::topology::wanted_routes;
use crate::message::shape::Shape;
use crate::store::admin::moves::list_moves;
use crate::store::admin::terminals::list_terminals;
use crate::store::registry::load_installation;

const OWNER: Check = Check::new("topology.owner", "the installation that the vhost belongs to");
const OBJECTS: Check = Check::new("topology.objects", "Holdfast's exchanges and queues");
const REPLIES: Check =
    Check::new("topology.replies", "the terminals' reply queues, and their bindings");
const ARGUMENTS: Check = Check::new("topology.arguments", "how exchanges and queues were declared");
const BINDINGS: Check =
    Check::new("topology.bindings", "bindings of Holdfast's queues and exchanges");
const ROUTES: Check =
    Check::new("topology.routes", "one binding per server, to the queue of its partition");
const FOREIGN: Check =
    Check::new("topology.foreign", "bindings of others to exchanges that are Holdfast's alone");
const POLICIES: Check = Check::new(
    "topology.policies",
    "policies and operator policies over Holdfast's queues and exchanges",
);
const MEMBERS: Check =
    Check::new("topology.members", "the nodes that have a copy of each quorum queue");

const APPLY: &str = "run `holdfast topology apply`";

/// Copies of a queue of which one may be lost.
const MEMBERS_WANTED: usize = 3;

/// What the checks need, once all of it is there.
struct Looked<'a> {
    database: &'a Client,
    connection: &'a Connection,
    endpoint: &'a Endpoint,
    shape: Shape,
}

pub(super) async fn check(context: &Context, engines: &Engines<'_>) -> Vec<Finding> {
    let all = [OWNER, OBJECTS, REPLIES, ARGUMENTS, BINDINGS, ROUTES, FOREIGN, POLICIES, MEMBERS];
    let (Some(database), Some(connection), Some(endpoint)) =
        (&engines.database, &engines.broker, engines.endpoint)
    else {
        return all.map(|check| check.needs("database and broker")).to_vec();
    };
    let Some(shape) = engines.shape() else {
        return all.map(|check| check.needs("the recorded topology")).to_vec();
    };
    let looked = Looked { database, connection, endpoint, shape };
    let terminals = list_terminals(database, None).await;
    let terminals: Vec<String> =
        terminals.into_iter().flatten().map(|terminal| terminal.id).collect();
    let mut findings = vec![
        bounded(OWNER, owner(context, &looked)).await,
        bounded(OBJECTS, objects(&looked)).await,
        bounded(REPLIES, replies(engines, &looked, &terminals)).await,
    ];
    match (&engines.inspector, engines.management, &engines.overview) {
        (Some(inspector), Some(address), Some(_)) => {
            findings.extend(behind(inspector, address, &looked, &terminals).await);
        }
        _ => findings.extend(
            [ARGUMENTS, BINDINGS, ROUTES, FOREIGN, POLICIES, MEMBERS]
                .map(|check| check.needs("the management API")),
        ),
    }
    findings
}

/// What only the management API tells.
async fn behind(
    inspector: &Inspector,
    address: &Address,
    looked: &Looked<'_>,
    terminals: &[String],
) -> Vec<Finding> {
    let (exchanges, queues) = tokio::join!(inspector.exchanges(), inspector.queues());
    let mut findings = match (exchanges, queues) {
        (Ok(exchanges), Ok(queues)) => {
            let different = declared::differences(looked.shape, &exchanges, &queues);
            let remedy = "stop the workers, wait until that queue or exchange is empty, delete it, and run \
                          `holdfast topology apply`";
            vec![
                ARGUMENTS.unless_any(&different, remedy, "as Holdfast declares them"),
                members(&queues),
            ]
        }
        (Err(error), _) | (_, Err(error)) => {
            [ARGUMENTS, MEMBERS].map(|check| check.failed(&error)).to_vec()
        }
    };
    findings.push(bounded(BINDINGS, own_bindings(address, looked)).await);
    findings.push(bounded(ROUTES, routes(address, looked)).await);
    findings.push(bounded(FOREIGN, foreign(address, looked)).await);
    findings.push(bounded(POLICIES, of_policies(address, looked, terminals)).await);
    findings
}

async fn owner(context: &Context, looked: &Looked<'_>) -> Result<Finding> {
    let id = load_installation(looked.database).await?;
    let vhost = context.config.broker()?.vhost();
    Ok(match installation::owner(looked.connection, id).await? {
        Owner::This => OWNER.green(format!("this database's, {id}")),
        Owner::Unclaimed => OWNER.red(format!("vhost {vhost} has no mark"), APPLY),
        Owner::Other(other) => OWNER.red(
            installation::belongs_to(vhost, other, id),
            "check AMQP_URL and DATABASE_URL. If the other installation is gone for good, run `holdfast \
             topology apply --take-over`",
        ),
    })
}

async fn objects(looked: &Looked<'_>) -> Result<Finding> {
    let id = load_installation(looked.database).await?;
    let missing = declare::missing(looked.connection, id, looked.shape).await?;
    let missing: Vec<String> = missing.iter().map(|name| format!("{name} is missing")).collect();
    Ok(OBJECTS.unless_any(&missing, APPLY, "all are there"))
}

async fn replies(
    engines: &Engines<'_>,
    looked: &Looked<'_>,
    terminals: &[String],
) -> Result<Finding> {
    let without = reply_queues::missing(looked.connection, terminals).await?;
    let mut wrong: Vec<String> =
        without.iter().map(|id| format!("queue {} is missing", reply_queue(id))).collect();
    let reached = engines.overview.as_ref().and(engines.management);
    if let Some(address) = reached {
        let with: Vec<String> =
            terminals.iter().filter(|id| !without.contains(id)).cloned().collect();
        let unbound = bindings::unbound_replies(address, looked.endpoint, &with).await?;
        wrong.extend(unbound.iter().map(|id| format!("queue {} is not bound", reply_queue(id))));
    }
    Ok(REPLIES.unless_any(&wrong, APPLY, &format!("{} terminals have theirs", terminals.len())))
}

async fn own_bindings(address: &Address, looked: &Looked<'_>) -> Result<Finding> {
    let missing = declared::missing_bindings(address, looked.endpoint, looked.shape).await?;
    let missing: Vec<String> = missing.iter().map(|text| format!("missing: {text}")).collect();
    Ok(BINDINGS.unless_any(&missing, APPLY, "all are there"))
}

async fn routes(address: &Address, looked: &Looked<'_>) -> Result<Finding> {
    let wanted = wanted_routes(looked.database).await?;
    let found = bindings::found(address, looked.endpoint).await?;
    let Difference { missing, surplus } = Difference::between(&wanted, &found);
    let text = |what: &str, routes: &[Route]| -> Vec<String> {
        routes.iter().map(|route| format!("{what}: {route}")).collect()
    };
    let wrong = [text("missing", &missing), text("too many", &surplus)].concat();
    let moving = list_moves(looked.database).await?.len();
    Ok(match (wrong.is_empty(), moving) {
        (true, _) => ROUTES.green(format!("{} servers have theirs", wanted.len())),
        (false, 0) => ROUTES.red(
            named(&wrong),
            "run `holdfast topology apply`, with RABBITMQ_MANAGEMENT_URL: until then commands for these servers \
             are unroutable",
        ),
        (false, moving) => ROUTES.yellow(
            format!("{}; {moving} servers are moving", named(&wrong)),
            "look again in a minute; if they still move, run `holdfast topology apply`",
        ),
    })
}

async fn foreign(address: &Address, looked: &Looked<'_>) -> Result<Finding> {
    let foreign = bindings::foreign(address, looked.endpoint, looked.shape).await?;
    Ok(FOREIGN.unless_any(
        &foreign,
        "unbind them: a message that such a queue refuses is published again and again",
        "none",
    ))
}

async fn of_policies(
    address: &Address,
    looked: &Looked<'_>,
    terminals: &[String],
) -> Result<Finding> {
    let policies = Policies::new(address, looked.endpoint)?;
    let deviations = policies.deviations(looked.shape, terminals).await?;
    let by_policy = deviations.iter().filter(|one| one.policies != policies::NO_POLICY);
    let changed: Vec<String> = by_policy.map(ToString::to_string).collect();
    Ok(POLICIES.unless_any(
        &changed,
        "narrow the pattern of the policies that are named, or delete them. `holdfast topology apply`, with an \
         account that may set policies, keeps off those of a priority below 1000; operator policies it cannot",
        "none changes what Holdfast relies on",
    ))
}

fn members(queues: &[QueueState]) -> Finding {
    let quorum = || queues.iter().filter(|queue| !queue.members.is_empty());
    let mut nodes: Vec<&String> = quorum().flat_map(|queue| &queue.members).collect();
    nodes.sort();
    nodes.dedup();
    let down: Vec<String> = quorum()
        .filter(|queue| queue.online.len() * 2 <= queue.members.len())
        .map(|queue| {
            format!(
                "queue {}: {} of {} copies are up",
                queue.name,
                queue.online.len(),
                queue.members.len()
            )
        })
        .collect();
    if !down.is_empty() {
        return MEMBERS
            .red(named(&down), "start the nodes that are down: these queues take no messages");
    }
    if nodes.len() <= 1 {
        return MEMBERS.green("one node: what it holds is on no other, and waits while it is down");
    }
    let few: Vec<String> = quorum()
        .filter(|queue| queue.online.len() < MEMBERS_WANTED.min(nodes.len()).max(2))
        .map(|queue| format!("queue {}: {} copies are up", queue.name, queue.online.len()))
        .collect();
    match few.is_empty() && nodes.len() >= MEMBERS_WANTED {
        true => MEMBERS.green(format!("{} nodes", nodes.len())),
        false if few.is_empty() => MEMBERS.yellow(
            "two nodes: if one is down, the queues take no messages",
            "add a third node, and copies: `rabbitmq-queues grow NODE all`",
        ),
        false => MEMBERS.yellow(
            named(&few),
            "start the nodes that are down, or add copies: `rabbitmq-queues grow NODE all`",
        ),
    }
}
