//! The database's URL.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, SslMode};

use crate::live::{self, Live};
use crate::parts::{Form, Parts, choice, number};
use crate::tls;

const FORM: Form = Form {
    expected: "must look like postgres://user:password@host:5432/database",
    schemes: &["postgres", "postgresql"],
    options: &[
        "sslmode",
        "sslrootcert",
        "options",
        "application_name",
        "connect_timeout",
        "tcp_user_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_retries",
        "target_session_attrs",
        "channel_binding",
    ],
    several_hosts: true,
};

const PORT: u16 = 5432;

/// A PostgreSQL URL, perhaps from a file, which is then read at every connect. Secret, so without `Debug`.
///
/// `sslmode` is `disable` (default), `require` or `verify-full`; the latter two both check certificate and
/// host name. libpq's `allow`, `prefer` and `verify-ca` are refused, because they do not check whom they
/// encrypt to. `sslrootcert` names a PEM file of authorities to trust instead of the system's.
#[derive(Clone)]
pub struct DatabaseUrl(Live<Target>);

/// What a URL says.
pub(super) struct Target {
    parts: Parts,
    pub(super) config: Config,
    pub(super) trust: Arc<ClientConfig>,
    /// Whether the server must accept writes.
    pub(super) writable: bool,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = Parts::read(text, &FORM)?;
        if parts.path.len() > 1 {
            return Err("has a slash in the database's name; percent-encode it as %2F".to_owned());
        }
        let (mode, trust) = security(&parts)?;
        let mut config = Config::new();
        config.ssl_mode(mode);
        place(&parts, &mut config);
        options(&parts, &mut config)?;
        let attributes = [("any", false), ("read-write", true)];
        let writable = choice(&parts, "target_session_attrs", &attributes)?.unwrap_or_default();
        Ok(Self { parts, config, trust, writable })
    }
}

impl live::Target for Target {
    const NAME: &'static str = "the database's URL";

    fn may_replace(&self, first: &Self) -> Result<(), &'static str> {
        match self.parts.path == first.parts.path {
            true => Ok(()),
            false => Err("names another database, which needs a restart"),
        }
    }
}

fn security(parts: &Parts) -> Result<(SslMode, Arc<ClientConfig>), String> {
    let (mode, trust) = match (parts.option("sslmode"), parts.option("sslrootcert")) {
        (None | Some("disable"), None) => (SslMode::Disable, tls::no_tls()),
        (None | Some("disable"), Some(_)) => {
            return Err("sslrootcert needs sslmode=verify-full".to_owned());
        }
        (Some("require" | "verify-full"), authorities) => {
            (SslMode::Require, tls::client_config(authorities))
        }
        _ => {
            return Err("sslmode must be disable, or require or verify-full, which both check \
                        the server's certificate and name"
                .to_owned());
        }
    };
    Ok((mode, trust.map_err(|error| error.to_string())?))
}

fn place(parts: &Parts, config: &mut Config) {
    if let Some(account) = &parts.account {
        config.user(&account.name);
        if let Some(password) = &account.password {
            config.password(password);
        }
    }
    for host in &parts.hosts {
        // A directory if it begins with a slash.
        config.host(&host.name).port(host.port.unwrap_or(PORT));
    }
    if let Some(database) = parts.path.first().filter(|name| !name.is_empty()) {
        config.dbname(database);
    }
}

fn options(parts: &Parts, config: &mut Config) -> Result<(), String> {
    if let Some(options) = parts.option("options") {
        config.options(options);
    }
    if let Some(name) = parts.option("application_name") {
        config.application_name(name);
    }
    let seconds =
        |name| Ok::<_, String>(number::<u32>(parts, name)?.map(|n| Duration::from_secs(n.into())));
    // As in libpq, 0 is the system's default or no limit.
    let set = |name| Ok::<_, String>(seconds(name)?.filter(|time| !time.is_zero()));
    set("connect_timeout")?.map(|time| config.connect_timeout(time));
    set("tcp_user_timeout")?.map(|time| config.tcp_user_timeout(time));
    set("keepalives_idle")?.map(|time| config.keepalives_idle(time));
    set("keepalives_interval")?.map(|time| config.keepalives_interval(time));
    number(parts, "keepalives_retries")?.map(|count| config.keepalives_retries(count));
    choice(parts, "keepalives", &[("0", false), ("1", true)])?.map(|on| config.keepalives(on));
    let binding = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    choice(parts, "channel_binding", &binding)?.map(|binding| config.channel_binding(binding));
    Ok(())
}

impl FromStr for DatabaseUrl {
    type Err = String;

    /// Errors repeat nothing of the text.
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl PartialEq for DatabaseUrl {
    fn eq(&self, other: &Self) -> bool {
        self.0.first().parts == other.0.first().parts
    }
}

impl DatabaseUrl {
    /// The same URL, which follows a file.
    pub fn in_file(self, path: &Path) -> Self {
        Self(self.0.in_file(path))
    }

    /// Database, hosts and account, for people; without the password.
    pub fn place(&self) -> String {
        let config = &self.0.first().config;
        let port = |index: usize| {
            let ports = config.get_ports();
            ports.get(index).or(ports.first()).copied().unwrap_or(PORT)
        };
        let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(index)),
            Host::Unix(path) => format!("{}:{}", path.display(), port(index)),
        });
        let hosts: Vec<String> = hosts.collect();
        let user = config.get_user().unwrap_or("the system's user");
        let database = config.get_dbname().unwrap_or(user);
        format!("database {database} on {} as {user}", hosts.join(","))
    }

    /// This URL for another account.
    pub fn for_account(&self, account: &str, password: &str) -> String {
        self.0.first().parts.clone().with_account(account, password).print()
    }

    /// What to connect to now.
    pub(super) fn current(&self) -> Arc<Target> {
        self.0.current()
    }

    /// Notes how a connect ended.
    pub(super) fn note(&self, refused: bool) {
        self.0.note(refused);
    }

    /// How long PostgreSQL has been refusing the account, or could not prove who it is, once that is longer
    /// than a remedy may take.
    pub fn hopeless(&self) -> Option<Duration> {
        self.0.hopeless()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> DatabaseUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn another_accounts_url_leads_to_the_same_place() {
        for (url, expected) in [
            ("postgres://me:s3cret@h/x", "postgres://a_b:pw@h/x"),
            ("postgres://me:p%3Fq%2Fr@h/", "postgres://a_b:pw@h/"),
            ("postgres://me:p@[2001:db8::1]:5433/x", "postgres://a_b:pw@[2001:db8::1]:5433/x"),
            ("postgresql://h:1/x?sslmode=require", "postgresql://a_b:pw@h:1/x?sslmode=require"),
            ("postgres://me:p%3Fq%2Fr@h1,h2:2/x", "postgres://a_b:pw@h1,h2:2/x"),
            ("postgres://me@%2Frun%2Fpg/x", "postgres://a_b:pw@%2Frun%2Fpg/x"),
        ] {
            let (given, other) = (read(url), read(url).for_account("a_b", "pw"));
            assert_eq!(other, expected);
            let other = read(&other);
            let other = &other.0.first().config;
            let given = &given.0.first().config;
            assert_eq!((other.get_user(), other.get_password()), (Some("a_b"), Some(&b"pw"[..])));
            assert_eq!(
                (other.get_hosts(), other.get_ports(), other.get_ssl_mode()),
                (given.get_hosts(), given.get_ports(), given.get_ssl_mode())
            );
        }
    }

    #[test]
    fn a_place_is_named_without_the_password() {
        for (url, place) in [
            ("postgres://me:s3cret@h:6543/x", "database x on h:6543 as me"),
            ("postgres://me:s3cret@h1,h2:2/x", "database x on h1:5432,h2:2 as me"),
            ("postgres://me@%2Frun%2Fpg", "database me on /run/pg:5432 as me"),
        ] {
            assert_eq!(read(url).place(), place);
        }
    }

    #[test]
    fn every_option_reaches_the_driver() {
        let url = read(
            "postgres://me:a%3Fb@h1:1,%2Frun%2Fpg/x?sslmode=require&options=-c%20a=b&application_name=n\
             &connect_timeout=2&tcp_user_timeout=3&keepalives=0&keepalives_idle=4&keepalives_interval=5\
             &keepalives_retries=6&target_session_attrs=read-write&channel_binding=require",
        );
        let config = &url.0.first().config;
        let driver = "host=h1,/run/pg port=1,5432 user=me password=a?b dbname=x sslmode=require \
                      options='-c a=b' application_name=n connect_timeout=2 tcp_user_timeout=3 keepalives=0 \
                      keepalives_idle=4 keepalives_interval=5 keepalives_retries=6 \
                      channel_binding=require";
        assert!(
            url.0.first().writable && *config == driver.parse::<Config>().unwrap(),
            "{config:?}"
        );
    }

    /// A password with a raw `?` took `sslmode=require` with it.
    #[test]
    fn no_typing_error_turns_encryption_off() {
        for bad in [
            "postgres://me:a?b@h/x?sslmode=require",
            "postgres://me:a/b?@h/x?sslmode=require",
            "postgres://me:p@h/x?sslmode=require&sslmode=disable",
            "postgres://me:p@h/x?SSLMODE=require",
            "postgres://me:p@h/x?sslmode =require",
            "postgres://me:p@h/x?sslmode",
            "postgres://me:p@h/x&sslmode=require?",
            "postgres://me:p@h/x;sslmode=require#",
            "postgres://me:p@h/x?a=1?sslmode=require",
        ] {
            let read = bad.parse::<DatabaseUrl>();
            let encrypted = read.map(|url| url.0.first().config.get_ssl_mode() == SslMode::Require);
            assert!(encrypted.unwrap_or(true), "{bad}");
        }
    }

    #[test]
    fn an_error_repeats_no_password() {
        for bad in [
            "s3cret",
            "mysql://me:s3cret@h/x",
            "postgres://me:s3cret@h:port/x",
            "postgres://me:s3cret@h/x?s3cret=1",
            "postgres://me:s3cret@h/x?sslmode=s3cret",
            "postgres://me:s3cret@h/x?sslmode=require&sslrootcert=/s3cret",
        ] {
            let error = bad.parse::<DatabaseUrl>().err().expect("refused");
            assert!(!error.contains("s3cret"), "{bad}: {error}");
        }
    }
}
