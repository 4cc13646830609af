//! Faults of what surrounds workers: logs, addresses, passwords and accounts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use url::Url;
use uuid::Uuid;

use super::Chaos;
use super::on_workers::replace_with;
use super::silent::Silent;
use crate::installation::url_at_port;
use crate::operator;
use crate::pick::Pick;
use crate::workers::{LogTo, Variation};

/// How long a worker that is started or has lost its sessions may take to beat.
const ALIVE_WITHIN: Duration = Duration::from_secs(30);

/// Bound on the end of a worker that is told to stop before it has begun.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// Bound on the end of a command to which the database does not answer.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(60);

const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Replaces a worker for a while by one that cannot write its log. It must stop in order all the same.
pub async fn log_unwritable(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let log =
        pick.weighted(&[(1, LogTo::FullDisk), (1, LogTo::ClosedPipe), (1, LogTo::StalledPipe)]);
    // Much to write, so that a pipe is full soon.
    let variables = vec![("RUST_LOG", "debug".to_owned())];
    let name = replace_with(chaos, Variation { variables, log }).await?;
    let (began, duration) = (Instant::now(), pick.millis(8_000, 20_000));
    chaos.hold(duration).await;
    let alive = beats(chaos, began).await;
    let stopped = {
        let mut siege = chaos.siege.lock().await;
        match siege.workers.at(0) {
            Some(index) => siege.workers.stop(index).await.map(drop),
            None => Err(anyhow::anyhow!("it has ended by itself")),
        }
    };
    replace_with(chaos, Variation::default()).await?;
    ensure!(alive.unwrap_or_default(), "an engine is away");
    if let Err(error) = stopped {
        chaos.setting.tally.failed(format!("with an unwritable log ({log:?}): {error:#}"));
    }
    Ok(format!("{name}: {log:?} for {:.1} s", duration.as_secs_f64()))
}

/// Whether the worker at the first place has beaten since.
async fn beats(chaos: &Chaos, since: Instant) -> Result<bool> {
    let process = chaos.siege.lock().await.workers.process(0).context("there is no worker")?;
    let (process, age) = (i32::try_from(process)?, since.elapsed().as_secs_f64());
    let query = "select exists (select from workers where pid = $1
                 and heartbeat_at > clock_timestamp() - make_interval(secs => $2))";
    let database = chaos.installation.database().await?;
    Ok(database.query_one(query, &[&process, &age]).await?.get(0))
}

/// Waits for the worker at the first place to beat.
pub(super) async fn alive(chaos: &Chaos) -> Result<()> {
    let began = Instant::now();
    while !beats(chaos, began).await.unwrap_or_default() {
        ensure!(began.elapsed() < ALIVE_WITHIN, "it does not beat");
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Starts a worker and a command whose database says nothing. The one must obey, the other give up.
pub async fn silent_start(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let silent = Silent::open().await?;
    let mut environment = chaos.installation.environment()?;
    let of = pick.weighted(&[(1, "DATABASE_URL"), (1, "AMQP_URL")]);
    for (name, url) in &mut environment {
        if *name == of {
            *url = url_at_port(url, Some(silent.port))?;
        }
    }
    let mut worker = Command::new(&chaos.program)
        .arg("worker")
        .envs(environment.clone())
        .stderr(std::process::Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    chaos.hold(pick.millis(200, 4_000)).await;
    let process = i32::try_from(worker.id().context("it has ended by itself")?)?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), nix::sys::signal::Signal::SIGTERM)?;
    if timeout(STOPS_WITHIN, worker.wait()).await.is_err() {
        chaos.setting.tally.failed(format!("a worker with a silent {of} does not stop"));
    }
    let words = ["topology", "verify"];
    let ended = operator::end_of(&chaos.program, environment, &words, GIVES_UP_WITHIN).await?;
    match ended {
        None => chaos.setting.tally.failed(format!("{} hangs: silent {of}", words.join(" "))),
        Some(ended) => ensure!(!ended.status.success(), "another engine answered"),
    }
    Ok(format!("{of}: the worker stops, a command gives up"))
}

/// Replaces a worker for a while by one whose first database address says nothing.
pub async fn first_address_silent(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let silent = Silent::open().await?;
    let url = own_database(chaos).await?;
    let port = url.port().context("a port")?;
    let hosts = format!("127.0.0.1:{},127.0.0.1:{port}", silent.port);
    let text = url.as_str().replace(&format!("127.0.0.1:{port}"), &hosts);
    let variables = vec![("DATABASE_URL", text)];
    let name = replace_with(chaos, Variation { variables, log: LogTo::File }).await?;
    let alive = alive(chaos).await;
    if alive.is_ok() {
        chaos.hold(pick.millis(5_000, 15_000)).await;
    }
    replace_with(chaos, Variation::default()).await?;
    alive.map(|()| format!("{name}, of the database"))
}

/// The first place's way to the database.
async fn own_database(chaos: &Chaos) -> Result<Url> {
    let siege = chaos.siege.lock().await;
    let url = siege.workers.environment(0).find(|(name, _)| *name == "DATABASE_URL");
    Ok(url.context("a database")?.1.parse()?)
}

/// Replaces a worker for a while by one with an account of its own, whose password is in a file, and changes
/// the password.
pub async fn password_changed(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let role = account();
    let file = chaos.secrets.join(&role);
    let words = ["account", "add", "database-worker", &role];
    let printed = operator::run(&chaos.program, &chaos.installation, &words).await?;
    let port = own_database(chaos).await?.port();
    write_secret(&file, &url_at_port(printed.trim(), port)?)?;
    let variables = vec![
        ("DATABASE_URL", String::new()),
        ("DATABASE_URL_FILE", file.to_str().context("a path in UTF-8")?.to_owned()),
    ];
    let name = replace_with(chaos, Variation { variables, log: LogTo::File }).await?;
    let outcome = change_password(chaos, pick, &role, &file).await;
    replace_with(chaos, Variation::default()).await?;
    std::fs::remove_file(&file).ok();
    remove_role(chaos, &role).await?;
    outcome.map(|()| name)
}

async fn change_password(chaos: &Chaos, pick: &mut Pick, role: &str, file: &Path) -> Result<()> {
    alive(chaos).await?;
    chaos.hold(pick.millis(2_000, 6_000)).await;
    let mut url: Url = std::fs::read_to_string(file)?.trim().parse()?;
    let password = Uuid::new_v4().simple().to_string();
    url.set_password(Some(&password)).ok();
    let database = chaos.installation.database().await?;
    let statement = format!("alter role {role} password '{password}'");
    database.batch_execute(&statement).await?;
    write_secret(file, url.as_str())?;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1";
    database.execute(end, &[&role]).await?;
    alive(chaos).await?;
    chaos.hold(pick.millis(2_000, 6_000)).await;
    Ok(())
}

async fn remove_role(chaos: &Chaos, role: &str) -> Result<()> {
    let statements = format!(
        "delete from database_roles where name = '{role}'; drop owned by {role}; drop role {role}"
    );
    chaos.installation.database().await?.batch_execute(&statements).await?;
    Ok(())
}

/// An account's name, new each time.
fn account() -> String {
    format!("worker_{}", &Uuid::new_v4().simple().to_string()[..8])
}

fn write_secret(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, file).context("a file with a secret")
}

/// Gives all workers another broker account, one after the other, and deletes the one before.
pub async fn account_rotated(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    // The account that the run began with belongs to the caller.
    if !chaos.installation.has_rotated() {
        rotate_account(chaos).await?;
    }
    let before = rotate_account(chaos).await?.context("there was one before")?;
    chaos.installation.remove_account(&before).await?;
    Ok(format!("{before} is gone"))
}

/// Returns the account before, if it is one of ours.
async fn rotate_account(chaos: &Chaos) -> Result<Option<String>> {
    let name = account();
    let words = ["account", "add", "broker-worker", &name];
    let printed = operator::run(&chaos.program, &chaos.installation, &words).await?;
    let new: Url = printed.trim().parse()?;
    let password = new.password().context("a password")?.to_owned();
    let count = {
        let mut siege = chaos.siege.lock().await;
        siege.workers.change("AMQP_URL", |url| {
            let mut url: Url = url.parse()?;
            url.set_username(&name).ok();
            url.set_password(Some(&password)).ok();
            Ok(url.to_string())
        })?;
        siege.workers.count()
    };
    let before = chaos.installation.rotated_to(name);
    for _ in 0..count {
        // New workers are at the end of the list, so the first is always an old one.
        chaos.siege.lock().await.replace(0).await?;
    }
    Ok(before)
}
