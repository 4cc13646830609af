//! Real streaming servers with the configuration files that we ship, and encoders and viewers for them.
//!
//! `./dev` installs them where it can. Without them a test says so and passes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::facts;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/streaming");

/// Where programs are; `None`, said aloud: not here.
fn program(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok();
    if found.is_none() {
        eprintln!("skipped: there is no {variable}, so no real streaming server to test with");
    }
    found
}

/// The first of the ports that are drawn: below those that the system gives to connections, which come and go.
const PORTS_FROM: u16 = 20_000;
const PORTS: u32 = 12_000;

/// A port that is free now, and that no other test of this run draws.
pub fn free_port() -> u16 {
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    loop {
        let drawn = first.wrapping_add(DRAWN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = PORTS_FROM + u16::try_from(drawn).expect("a port");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A shipped file with other ports and paths. Each must be there.
fn adapted(name: &str, changes: &[(&str, String)]) -> String {
    let text = fs::read_to_string(Path::new(SHIPPED).join(name)).expect("a shipped file");
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{name} has no {from:?}");
        text.replace(from, to)
    })
}

/// A process that is killed when dropped.
pub struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        if let Ok(state) = std::env::var("HOLDFAST_DEV_STATE") {
            command.env("HOLDFAST_DEV_STATE", state);
        }
        Self(command.stdin(Stdio::null()).spawn().expect("it starts"))
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a status")
    }

    pub fn runs(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        facts::found("it ends", async || self.ended()).await
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"));
        nix::sys::signal::kill(pid, signal).expect("the process is there");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A streaming server.
pub struct Server {
    process: Running,
    pub directory: TempDir,
    /// Where encoders and viewers connect.
    pub port: u16,
    /// The gate's side.
    pub control: String,
}

impl Server {
    /// nginx with its RTMP module, which asks a gate at `hooks`.
    pub async fn nginx(hooks: u16) -> Option<Self> {
        let (program, module) = (program("HOLDFAST_NGINX")?, program("HOLDFAST_NGINX_RTMP")?);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display().to_string();
        let (port, control) = (free_port(), free_port());
        let text = adapted(
            "nginx-rtmp.conf",
            &[
                ("modules/ngx_rtmp_module.so", module),
                ("/var/log/nginx", path.clone()),
                ("/run/nginx.pid", format!("{path}/pid")),
                ("listen 1935", format!("listen 127.0.0.1:{port}")),
                ("127.0.0.1:8070", format!("127.0.0.1:{hooks}")),
                ("127.0.0.1:8081", format!("127.0.0.1:{control}")),
            ],
        );
        // Where it keeps bodies, which nobody sends; the distribution's places belong to root.
        let text = text.replace(
            "http {",
            "http {\n client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fcgi;
             uwsgi_temp_path uwsgi; scgi_temp_path scgi;",
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new(program);
        command.args(["-p", &path, "-g", "daemon off;", "-c"]).arg(&file);
        let error = fs::File::create(directory.path().join("error.log")).expect("a log");
        let process = Running::start(command.stdout(Stdio::null()).stderr(error));
        let control = format!("http://127.0.0.1:{control}");
        Some(Self { process, directory, port, control }.up().await)
    }

    /// Icecast, which asks a gate at `hooks`.
    pub async fn icecast(hooks: u16) -> Option<Self> {
        let program = program("HOLDFAST_ICECAST")?;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display().to_string();
        // It gives up root for an account that must get here and write its logs.
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("rights");
        };
        open(directory.path(), 0o777);
        open(directory.path().parent().expect("the tests' own"), 0o711);
        let port = free_port();
        let text = adapted(
            "icecast.xml",
            &[
                (
                    "<port>8000</port>",
                    format!("<bind-address>127.0.0.1</bind-address><port>{port}</port>"),
                ),
                ("127.0.0.1:8070", format!("127.0.0.1:{hooks}")),
                ("/var/log/icecast2", path.clone()),
            ],
        );
        let file = directory.path().join("icecast.xml");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Running::start(&mut command);
        let control = format!("http://admin:change-me@127.0.0.1:{port}");
        Some(Self { process, directory, port, control }.up().await)
    }

    async fn up(mut self) -> Self {
        facts::until("the streaming server listens", async || {
            assert!(self.process.runs(), "it has ended: {}", self.logs());
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
        assert!(self.process.runs(), "it has ended: {}", self.logs());
        self
    }

    /// Everything that it has logged.
    pub fn logs(&self) -> String {
        let files = fs::read_dir(self.directory.path()).expect("a directory");
        let paths = files.map(|entry| entry.expect("an entry").path());
        let logs = paths.filter(|path| path.extension().is_some_and(|end| end == "log"));
        logs.map(|path| fs::read_to_string(path).expect("a log")).collect()
    }

    pub fn rtmp(&self, name: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{name}", self.port)
    }
}

fn ffmpeg(name: &str) -> Command {
    let mut command =
        Command::new(Path::new(&super::engines::variable("HOLDFAST_FFMPEG")).join(name));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Whether there are encoders and viewers.
pub fn has_ffmpeg() -> bool {
    program("HOLDFAST_FFMPEG").is_some()
}

/// Some seconds of picture and sound, made once.
async fn clip() -> &'static Path {
    static CLIP: OnceCell<(TempDir, PathBuf)> = OnceCell::const_new();
    let made = CLIP.get_or_init(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("clip.flv");
        let mut command = ffmpeg("ffmpeg");
        command.args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i"]);
        command.args(["sine=frequency=440", "-t", "4", "-c:v", "libx264", "-preset", "ultrafast"]);
        command.args(["-g", "12", "-c:a", "aac"]).arg(&path);
        assert!(Running::start(&mut command).end().await.success(), "a clip");
        (directory, path)
    });
    &made.await.1
}

/// Sends the clip again and again.
pub async fn publish(url: &str) -> Running {
    let mut command = ffmpeg("ffmpeg");
    command.args(["-re", "-stream_loop", "-1", "-i"]).arg(clip().await);
    Running::start(command.args(["-c", "copy", "-f", "flv", url]))
}

/// Receives until the server ends it.
pub fn watch(url: &str) -> Running {
    Running::start(ffmpeg("ffmpeg").args(["-i", url, "-c", "copy", "-f", "null", "-"]))
}

/// Whether there is picture and sound.
pub async fn shows(url: &str) -> bool {
    let mut command = ffmpeg("ffprobe");
    command.args(["-analyzeduration", "300000", "-rw_timeout", "2000000", "-v", "error"]);
    command.args(["-show_entries", "stream=codec_name", "-of", "csv=p=0", url]);
    let output = tokio::process::Command::from({
        command.stdout(Stdio::piped());
        command
    })
    .output()
    .await
    .expect("ffprobe runs");
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    seen.contains("h264") && seen.contains("aac")
}
