//! The whole run, from an empty installation to the verdict.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast::store::pool;
use holdfast_lab::{ports, program};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::biller::Biller;
use crate::chaos::swarm::Swarm;
use crate::chaos::timeline::Timeline;
use crate::chaos::{Chaos, Engines, Links, on_zones};
use crate::checks::counters::COMPARED;
use crate::checks::{self, Check, Seen};
use crate::facts::Facts;
use crate::history::History;
use crate::installation::{Desks, Installation, at_port, database, url_at_port};
use crate::life::{Ground, Life};
use crate::pick::Pick;
use crate::plan::Plan;
use crate::prometheus::{Counted, Prometheus};
use crate::rolling::{Deploy, Rolled};
use crate::siege::Siege;
use crate::tally::Tally;
use crate::terminal::{Setting, Terminal};
use crate::workers::Workers;
use crate::{Args, drain, evidence, operator, progress, queues};

/// Lives that a terminal plays at once.
const LIVES_AT_ONCE: usize = 24;

/// Database connections of the operators.
const OPERATORS: usize = 4;

/// Number of workers, unless the seed decides it.
const WORKERS: usize = 3;

/// Number of workers in a deploy: two of each version when half of it is done.
const WORKERS_ROLLED: usize = 4;

/// The stream of random choices that lives make while they are played.
const PURPOSE: u64 = u64::MAX / 4;

/// Time for replies to reach the terminals once the queues are empty.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// Everything that takes part in the run.
struct Stage {
    seed: u64,
    brief: bool,
    began: Instant,
    setting: Setting,
    installation: Arc<Installation>,
    ground: Arc<Ground>,
    terminals: Vec<Arc<Terminal>>,
    biller: Biller,
    timeline: Arc<Timeline>,
    /// Set only with chaos.
    swarm: Option<(Swarm, Arc<Links>)>,
}

/// When terminals begin no more lives.
#[derive(Clone)]
enum Until {
    Lives(usize),
    Time(Instant),
    Told(CancellationToken),
}

/// What is known about the workers once all have ended.
struct Played {
    /// Name, memory and open files of each, before it ended.
    sizes: Vec<(String, usize, usize)>,
    /// Set only in a deploy.
    rolled: Option<Rolled>,
    /// What Prometheus scraped, where it did.
    scraped: Option<Counted>,
}

/// Returns whether all checks passed.
pub async fn run(args: &Args) -> Result<bool> {
    let stage = Stage::set(args).await?;
    let billing = tokio::spawn(stage.biller.clone().run(stage.seed));
    let ports = ports::free(stage.workers(args))?;
    let workers = stage.start_workers(args, &ports)?;
    // Where engines and clocks break, scrapes may fail; an older version may count otherwise.
    let prometheus = match args.chaos || args.from.is_some() {
        true => None,
        false => Some(Prometheus::start(&args.logs, ports).await?),
    };
    let timeline = stage.timeline.clone();
    let tally = stage.setting.tally.clone();
    let played = tokio::select! {
        played = stage.play(args, workers, prometheus) => played?,
        () = progress::tell(&tally, stage.began, || timeline.current()) => unreachable!("endless"),
    };
    billing.abort();
    progress::tell_once(&tally, stage.began, "");
    stage.conclude(args, played).await
}

impl Stage {
    async fn set(args: &Args) -> Result<Self> {
        let began = Instant::now();
        let seed = args.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
        std::fs::create_dir_all(&args.logs).context("the directory for logs")?;
        let tally = Arc::new(Tally::default());
        let history = Arc::new(History::create(&args.logs)?);
        let patient = args.chaos || args.from.is_some();
        let setting = Setting { tally: tally.clone(), history, patient };
        let installation = Arc::new(Installation::set_up(args.from.as_deref()).await?);
        let swarm = match args.chaos {
            true => Some(open_links(args, seed, &installation).await?),
            false => None,
        };
        let links = swarm.as_ref().map(|(_, links)| links.clone());
        let servers = installation.add_servers(seed).await?;
        let port = |number: usize| links.as_ref().map(|links| links.terminals[number].port);
        let desks = Desks { setting: setting.clone(), port: &port };
        let terminals = installation.add_terminals(args.terminals, seed, &desks).await?;
        let way = links.as_ref().map(|links| links.operators.port);
        let operators = url_at_port(&installation.database_url, way)?;
        let ground = Arc::new(Ground {
            servers,
            clock: installation.clock,
            tally,
            pool: pool::open(pool::settings(&database(&operators)?), OPERATORS),
            known: Default::default(),
            cancelled: Default::default(),
            wiped: Default::default(),
            moves: Default::default(),
            restarts: Default::default(),
            poison: Default::default(),
            jumps: Default::default(),
            former: Default::default(),
            chaos: args.chaos,
            brief: args.brief,
        });
        let broker = &installation.broker;
        let direct = broker.url_for(broker.account(), broker.password());
        let way = links.as_ref().map(|links| links.biller.port);
        let biller = Biller::new(at_port(&direct, way)?, setting.clone());
        let timeline = Arc::new(Timeline::new(began, args.only.clone()));
        let stage = Self {
            seed,
            brief: args.brief,
            began,
            setting,
            installation,
            ground,
            terminals,
            biller,
            timeline,
            swarm,
        };
        println!(
            "seed {seed}, {} terminals, {} workers; their logs are in {}",
            args.terminals,
            stage.workers(args),
            args.logs.display()
        );
        Ok(stage)
    }

    fn workers(&self, args: &Args) -> usize {
        let usual = if args.from.is_some() { WORKERS_ROLLED } else { WORKERS };
        let drawn = self.swarm.as_ref().map_or(usual, |(swarm, _)| swarm.workers);
        args.workers.unwrap_or(drawn)
    }

    /// Each place has its own port for the workers' HTTP endpoint.
    fn start_workers(&self, args: &Args, ports: &[u16]) -> Result<Workers> {
        let program = args.from.clone().map_or_else(|| program(args), Ok)?;
        let direct = self.installation.environment()?;
        let environment = |place| match &self.swarm {
            None => anyhow::Ok(direct.clone()),
            Some((swarm, links)) => {
                let mut environment = links.environment(place, &direct)?;
                environment.extend(swarm.environment(place));
                Ok(environment)
            }
        };
        let listening = |(place, port): (usize, &u16)| {
            let mut environment = environment(place)?;
            environment.push(("HOLDFAST_HTTP_LISTEN", format!("127.0.0.1:{port}")));
            anyhow::Ok(environment)
        };
        let environments = ports.iter().enumerate().map(listening).collect::<Result<_>>()?;
        let programs = [program].into_iter().chain(args.beside.clone()).collect();
        let mut workers = Workers::new(programs, args.logs.clone(), environments);
        while workers.count() < workers.places() {
            workers.start()?;
        }
        Ok(workers)
    }

    /// Plays all lives under faults, then waits without faults until nothing is left to do, then
    /// stops the workers.
    async fn play(
        &self,
        args: &Args,
        workers: Workers,
        prometheus: Option<Prometheus>,
    ) -> Result<Played> {
        let siege = Siege::new(workers, self.setting.tally.clone(), self.seed);
        let mut rolled = None;
        let mut workers = match &self.swarm {
            None if args.from.is_some() => {
                let (siege, what) = self.play_deploy(args, siege).await?;
                rolled = Some(what);
                siege.workers
            }
            None if args.peace => {
                self.play_lives(Until::Lives(args.lifecycles)).await;
                siege.workers
            }
            None => {
                let peace = CancellationToken::new();
                let siege = siege.run(peace.clone());
                let lives = async {
                    self.play_lives(Until::Lives(args.lifecycles)).await;
                    peace.cancel();
                };
                tokio::join!(siege, lives).0
            }
            Some((swarm, links)) => self.play_chaos(args, siege, swarm, links.clone()).await?,
        };
        println!("all lives are over; waiting until nothing is left to do");
        self.drain().await?;
        let scraped = match prometheus {
            Some(prometheus) => Some(scrape(&prometheus).await?),
            None => None,
        };
        let sizes = workers.sizes();
        while workers.count() > 0 {
            if let Err(error) = workers.stop(0).await {
                self.setting.tally.failed(format!("{error:#}"));
            }
        }
        sleep(LAST_REPLIES).await;
        Ok(Played { sizes, rolled, scraped })
    }

    async fn play_deploy(&self, args: &Args, siege: Siege) -> Result<(Siege, Rolled)> {
        let old = args.from.clone().context("another version")?;
        let (installation, tally) = (self.installation.clone(), self.setting.tally.clone());
        let deploy = Deploy::new(siege, installation, tally, old, program(args)?);
        let over = CancellationToken::new();
        let deploy = async {
            let _ends = over.clone().drop_guard();
            deploy.run().await
        };
        tokio::join!(deploy, self.play_lives(Until::Told(over.clone()))).0
    }

    async fn play_chaos(
        &self,
        args: &Args,
        siege: Siege,
        swarm: &Swarm,
        links: Arc<Links>,
    ) -> Result<Workers> {
        let names: Vec<&str> = swarm.faults.iter().map(|fault| fault.name).collect();
        println!(
            "faults: {}\nsettings: {:?}, wrong clock: {:?}",
            names.join(", "),
            swarm.settings,
            swarm.wrong_clock.as_ref().map(|(_, how)| how)
        );
        let chaos = Chaos {
            links,
            siege: siege.into(),
            // Faults that break engines need private ones.
            engines: Engines::find()
                .filter(|_| swarm.faults.iter().any(|fault| fault.lane.needs_engines())),
            program: program(args)?,
            installation: self.installation.clone(),
            terminals: self.terminals.clone(),
            ground: self.ground.clone(),
            biller: self.biller.clone(),
            setting: self.setting.clone(),
            timeline: self.timeline.clone(),
            secrets: args.logs.clone(),
            stop: CancellationToken::new(),
        };
        let end = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
        let faults = async {
            let watch = async {
                tokio::time::sleep_until(end).await;
                chaos.stop.cancel();
            };
            let healed = tokio::join!(chaos.run(&swarm.faults, self.seed), watch).0;
            println!("everything is healed");
            match drain::recover(&self.terminals, &self.ground).await {
                Some(after) => println!("all was answered {:.1} s later", after.as_secs_f64()),
                None => println!("not all was answered"),
            }
            healed
        };
        let (healed, ()) = tokio::join!(faults, self.play_lives(Until::Time(end)));
        healed?;
        chaos.into_workers()
    }

    async fn play_lives(&self, until: Until) {
        let count = self.terminals.len();
        let mut lives = JoinSet::new();
        for index in 0..count {
            // Numbered in turn, so that a life's number does not depend on other terminals.
            let mut mine = self.lives_of(index).zip((index..).step_by(count));
            let room = Arc::new(Semaphore::new(LIVES_AT_ONCE));
            let (tally, until) = (self.setting.tally.clone(), until.clone());
            lives.spawn(async move {
                let mut playing = JoinSet::new();
                loop {
                    let place = room.clone().acquire_owned().await.expect("never closed");
                    let (life, number) = mine.next().expect("endless");
                    let over = match &until {
                        Until::Lives(count) => number >= *count,
                        Until::Time(end) => Instant::now() >= *end,
                        Until::Told(over) => over.is_cancelled(),
                    };
                    if over {
                        break;
                    }
                    playing.spawn(async move {
                        let _place = place;
                        life.play().await;
                    });
                }
                while let Some(ended) = playing.join_next().await {
                    if let Err(error) = ended {
                        tally.failed(format!("a life ended: {error}"));
                    }
                }
            });
        }
        while lives.join_next().await.is_some() {}
    }

    /// The endless sequence of lives of a terminal.
    fn lives_of(&self, index: usize) -> impl Iterator<Item = Life> + Send + 'static {
        let (seed, brief, ground) = (self.seed, self.brief, self.ground.clone());
        let terminal = self.terminals[index].clone();
        // With an odd number of terminals, the last one is its own sibling.
        let sibling = self.terminals.get(index ^ 1).unwrap_or(&terminal).clone();
        (index..).step_by(self.terminals.len()).map(move |number| Life {
            number,
            plan: Plan::new(seed, number, brief),
            ground: ground.clone(),
            terminal: terminal.clone(),
            sibling: sibling.clone(),
            pick: Pick::new(seed, PURPOSE + number as u64),
            later: JoinSet::new(),
        })
    }

    async fn drain(&self) -> Result<()> {
        let began = Instant::now();
        // Answers lost with a queue arrive only if they are asked for again.
        let asked = drain::ask_again(&self.terminals, &self.ground).await?;
        if asked > 0 {
            println!("asked again for {asked} answers that were lost with a queue or the broker");
        }
        let left = drain::wait(&self.installation, &self.terminals, &self.biller, &self.ground);
        let left = left.await;
        println!("drained in {:.1} s", began.elapsed().as_secs_f64());
        left.iter().for_each(|left| println!("still: {left}"));
        Ok(())
    }

    async fn conclude(&self, args: &Args, played: Played) -> Result<bool> {
        let mut checks = self.check(args, &played).await?;
        checks.extend(played.rolled.as_ref().map(checks::rolled));
        let (dir, seed) = (args.logs.display(), self.seed);
        self.setting.history.flush();
        let holds = checks.iter().all(Check::holds);
        checks.iter().for_each(Check::print);
        if holds {
            println!("Everything holds (seed {seed}).");
        } else {
            let database = self.installation.database().await?;
            evidence::keep(&args.logs, &checks, &database).await?;
            println!(
                "BROKEN (seed {seed}). All that was found, history, tables and logs are in {dir}"
            );
        }
        if args.keep {
            println!("Database and vhost {} are left behind:", self.installation.name);
            for (name, value) in self.installation.environment()? {
                println!("  export {name}='{value}'");
            }
        } else {
            self.installation.remove(&self.terminals).await?;
        }
        Ok(holds)
    }

    async fn check(&self, args: &Args, played: &Played) -> Result<Vec<Check>> {
        self.terminals.iter().for_each(|terminal| terminal.close());
        self.ground.pool.close();
        let facts = Facts::load(&self.installation, self.seed).await?;
        let names = self.ground.empty_at_the_end(self.installation.shape().await?);
        let mut left = left_in_queues(&self.installation, names).await?;
        if self.ground.jumps.any_back() {
            // What waits in the ladder then may come out of it after the last worker has ended.
            let amqp = self.installation.amqp().await?;
            left.found = queues::but_wake_ups(&amqp, left.found).await?;
        }
        let verify = ["topology", "verify"];
        let verified = operator::run(&program(args)?, &self.installation, &verify).await;
        let dead = queues::dead_letters(&self.installation.amqp().await?).await?;
        let seen = Seen {
            facts: &facts,
            terminals: &self.terminals,
            ground: &self.ground,
            left: &left,
            dead: &dead,
            verified: verified.map(drop).map_err(|error| format!("{error:#}")),
            timeline: &self.timeline,
            password: self.installation.broker.password(),
            logs: &args.logs,
            peace: args.peace,
            scraped: played.scraped.as_ref(),
            sizes: &played.sizes,
        };
        Ok(checks::all(&seen, &self.biller.ledger(), &self.setting.tally))
    }
}

/// What all workers have counted, now that nothing is left to count.
async fn scrape(prometheus: &Prometheus) -> Result<Counted> {
    prometheus.caught_up().await?;
    prometheus.counted(&COMPARED).await
}

async fn open_links(
    args: &Args,
    seed: u64,
    installation: &Installation,
) -> Result<(Swarm, Arc<Links>)> {
    let swarm = Swarm::draw(seed, &args.only, Engines::find().is_some())?;
    if swarm.faults.iter().any(|fault| fault.name == "zone-rules") {
        on_zones::prepare(installation).await?;
    }
    let workers = args.workers.unwrap_or(swarm.workers);
    let broker = &installation.broker;
    let broker = broker.url_for(broker.account(), broker.password());
    let engines = (broker.as_str(), installation.database_url.as_str());
    let links = Links::open(engines, workers, args.terminals, seed).await?;
    Ok((swarm, Arc::new(links)))
}

/// The program under test.
fn program(args: &Args) -> Result<PathBuf> {
    args.program.clone().map_or_else(program::beside_ourselves, Ok)
}

/// Messages and consumers of queues that must be empty at the end, and how many queues were
/// checked.
async fn left_in_queues(installation: &Installation, names: Vec<String>) -> Result<checks::Left> {
    let amqp = installation.amqp().await?;
    let found = queues::not_empty(&amqp, &names).await?;
    let consumers = queues::consumed(&amqp, &names).await?;
    Ok(checks::Left { found, consumers, looked_at: names.len() })
}
