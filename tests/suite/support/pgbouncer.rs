//! A PgBouncer in front of the database. The soak uses it, too.

use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use url::Url;

/// Bound on its start on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(30);

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// For how long a client keeps its server session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Session,
    Transaction,
}

/// Ends when it is dropped.
pub struct PgBouncer {
    pub port: u16,
    process: Child,
    _dir: TempDir,
}

impl PgBouncer {
    /// Starts it in front of a URL's database, where it logs in as the URL's user. Fails without the variable
    /// that `./dev` sets to the program.
    pub async fn start(mode: Mode, database: &Url) -> Result<Self> {
        let program = std::env::var_os("HOLDFAST_PGBOUNCER").context("there is no PgBouncer")?;
        let dir = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let file = dir.path().join("pgbouncer.ini");
        std::fs::write(&file, configuration(mode, database, port)?)?;
        let process = Command::new(program)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("starting PgBouncer")?;
        let mut bouncer = Self { port, process, _dir: dir };
        bouncer.up().await.map(|()| bouncer)
    }

    async fn up(&mut self) -> Result<()> {
        let until = Instant::now() + UP_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            ensure!(self.process.try_wait()?.is_none(), "PgBouncer has ended");
            ensure!(Instant::now() < until, "PgBouncer does not come up");
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }
}

/// It ignores the startup parameter `options`. Otherwise its older versions refuse our sessions themselves.
fn configuration(mode: Mode, database: &Url, port: u16) -> Result<String> {
    let name = database.path().trim_start_matches('/');
    let host = database.host_str().context("a host")?;
    let server = database.port().context("a port")?;
    let (user, password) = (database.username(), database.password().unwrap_or_default());
    let mode = match mode {
        Mode::Session => "session",
        Mode::Transaction => "transaction",
    };
    // As root it refuses to run.
    let own_user = match std::fs::metadata("/proc/self")?.uid() {
        0 => "user = nobody\n",
        _ => "",
    };
    Ok(format!(
        "[databases]\n\
         {name} = host={host} port={server} dbname={name} user={user} password={password}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         pool_mode = {mode}\n\
         ignore_startup_parameters = options\n\
         {own_user}"
    ))
}
