//! The whole run, from an empty installation to the verdict.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast::store::pool;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::biller::Biller;
use crate::checks::{self, Check, Seen};
use crate::facts::Facts;
use crate::installation::Installation;
use crate::life::{Ground, Life};
use crate::pick::Pick;
use crate::plan::Plan;
use crate::siege::Siege;
use crate::tally::Tally;
use crate::terminal::Terminal;
use crate::workers::Workers;
use crate::{Args, drain, evidence, progress, queues};

/// Lives that a terminal plays at the same time.
const LIVES_AT_ONCE: usize = 24;

/// Connections for the operators.
const OPERATORS: usize = 4;

/// Told apart from what else is drawn from the seed: the lives' own choices, beside their plans.
const PURPOSE: u64 = u64::MAX / 4;

/// Time for what is on its way to the terminals when the queues are empty.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// Returns whether everything is as it should be.
pub async fn run(args: &Args) -> Result<bool> {
    let began = Instant::now();
    let seed = args.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    let Args { lifecycles, terminals, workers, .. } = *args;
    println!("{lifecycles} lifecycles, {terminals} terminals, {workers} workers, seed {seed}");
    std::fs::create_dir_all(&args.logs).context("the directory for logs")?;
    let tally = Arc::new(Tally::default());
    let installation = Installation::set_up().await?;
    let servers = installation.add_servers(seed).await?;
    let terminals = installation.add_terminals(terminals, seed, &tally).await?;
    println!("Workers' logs are in {}", args.logs.display());
    let ground = Arc::new(Ground {
        servers,
        clock: installation.clock,
        tally: tally.clone(),
        pool: pool::open(pool::settings(&installation.database_url)?, OPERATORS),
        known: Default::default(),
        cancelled: Default::default(),
    });
    let biller = Biller::new(installation.broker.clone(), tally.clone());
    let billing = tokio::spawn(biller.clone().run(seed));
    let workers = start_workers(args, &installation)?;
    let told =
        async { play(args, seed, &ground, &terminals, workers, (&installation, &biller)).await };
    tokio::select! {
        played = told => played?,
        () = progress::tell(&tally, lifecycles, began) => {}
    }
    billing.abort();
    progress::tell_once(&tally, lifecycles, began);
    let facts = Facts::load(&installation.database).await?;
    let left = left_in_queues(&installation).await?;
    let seen = Seen { facts: &facts, terminals: &terminals, ground: &ground, left: &left };
    let checks = checks::all(&seen, &biller.ledger(), &tally);
    conclude(args, seed, &checks, installation, &terminals).await
}

fn start_workers(args: &Args, installation: &Installation) -> Result<Workers> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => program_beside()?,
    };
    let mut workers = Workers::new(program, args.logs.clone(), installation.environment());
    for _ in 0..args.workers {
        workers.start()?;
    }
    Ok(workers)
}

/// `holdfast`, which was built beside this example.
fn program_beside() -> Result<PathBuf> {
    let own = std::env::current_exe().context("where am I?")?;
    let dir = own.parent().and_then(|examples| examples.parent()).context("where am I?")?;
    let program = dir.join("holdfast");
    let built = program.is_file();
    built.then_some(program).context("there is no `holdfast` beside the example; build it first")
}

/// All lives under siege, then peace until nothing is left to do, then the workers' orderly end.
async fn play(
    args: &Args,
    seed: u64,
    ground: &Arc<Ground>,
    terminals: &[Arc<Terminal>],
    workers: Workers,
    (installation, biller): (&Installation, &Biller),
) -> Result<()> {
    let peace = CancellationToken::new();
    let siege = Siege::new(workers, ground.tally.clone(), seed).run(peace.clone());
    let lives = async {
        play_lives(args.lifecycles, seed, ground, terminals).await;
        peace.cancel();
    };
    let (mut workers, ()) = tokio::join!(siege, lives);
    println!("all lives are over; waiting until nothing is left to do");
    for left in drain::wait(installation, terminals, biller).await? {
        println!("still: {left}");
    }
    while workers.count() > 0 {
        if let Err(error) = workers.stop(0).await {
            ground.tally.failed(format!("{error:#}"));
        }
    }
    sleep(LAST_REPLIES).await;
    Ok(())
}

async fn play_lives(count: usize, seed: u64, ground: &Arc<Ground>, terminals: &[Arc<Terminal>]) {
    let room: Vec<_> = terminals.iter().map(|_| Arc::new(Semaphore::new(LIVES_AT_ONCE))).collect();
    let mut lives = JoinSet::new();
    for number in 0..count {
        let index = number % terminals.len();
        let life = Life {
            number,
            plan: Plan::new(seed, number),
            ground: ground.clone(),
            terminal: terminals[index].clone(),
            // With an odd number of terminals the last one is its own.
            sibling: terminals.get(index ^ 1).unwrap_or(&terminals[index]).clone(),
            pick: Pick::new(seed, PURPOSE + number as u64),
            later: JoinSet::new(),
        };
        let room = room[index].clone();
        lives.spawn(async move {
            let _place = room.acquire_owned().await.expect("never closed");
            life.play().await;
        });
    }
    while let Some(ended) = lives.join_next().await {
        if let Err(error) = ended {
            ground.tally.failed(format!("a life ended: {error}"));
        }
    }
}

/// What stands in queues in which nothing may be any more, and how many were looked at.
async fn left_in_queues(installation: &Installation) -> Result<checks::Left> {
    let mut names = queues::transient();
    names.push(queues::DEAD_LETTERS.to_owned());
    let found = queues::not_empty(&installation.amqp, &names).await?;
    Ok(checks::Left { found, looked_at: names.len() })
}

async fn conclude(
    args: &Args,
    seed: u64,
    checks: &[Check],
    installation: Installation,
    terminals: &[Arc<Terminal>],
) -> Result<bool> {
    let holds = checks.iter().all(Check::holds);
    for check in checks {
        check.print();
    }
    if !holds {
        evidence::keep(&args.logs, checks, &installation.database, terminals).await?;
        println!(
            "BROKEN (seed {seed}). All that was found, the tables and the workers' logs are in {}",
            args.logs.display()
        );
    } else {
        println!("Everything holds (seed {seed}).");
    }
    if args.keep {
        println!("Database and vhost {} are left behind; to look around:", installation.name);
        for (name, value) in installation.environment() {
            println!("  export {name}='{value}'");
        }
    } else {
        installation.remove(terminals).await?;
    }
    Ok(holds)
}
