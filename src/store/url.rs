//! The database's URL.

use std::str::FromStr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::tls;

/// Fixed: the driver's errors may repeat parts of a password.
const EXPECTED: &str = "must look like postgres://user:password@host:5432/database";

/// A PostgreSQL URL, read by the driver's rules. Secret, so without `Debug`.
///
/// `sslmode` is `disable` (default), `require` or `verify-full`; the latter two both check certificate and
/// host name. libpq's `allow`, `prefer` and `verify-ca` are refused, because they do not check whom they
/// encrypt to. `sslrootcert` names a PEM file of authorities to trust instead of the system's.
#[derive(Clone)]
pub struct DatabaseUrl {
    scheme: String,
    /// Host, database and options, as given.
    place: String,
    pub(super) config: Config,
    pub(super) trust: Arc<ClientConfig>,
}

impl FromStr for DatabaseUrl {
    type Err = String;

    /// Errors repeat nothing of the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "postgres" | "postgresql"))
            .ok_or(EXPECTED)?;
        // As in the driver, the account is everything up to the first '@'.
        let (account, place) = match rest.split_once('@') {
            Some((account, place)) => (format!("{account}@"), place),
            None => (String::new(), rest),
        };
        let mut known = place.to_owned();
        let mode = tls::take_option(&mut known, "sslmode");
        let authorities = tls::take_option(&mut known, "sslrootcert");
        let (mode, trust) = match (mode.as_deref(), authorities) {
            (None | Some("disable"), None) => (SslMode::Disable, tls::no_tls()),
            (None | Some("disable"), Some(_)) => {
                return Err("sslrootcert needs sslmode=verify-full".to_owned());
            }
            (Some("require" | "verify-full"), authorities) => {
                (SslMode::Require, tls::client_config(authorities.as_deref()))
            }
            _ => {
                return Err(
                    "sslmode must be disable, or require or verify-full, which both check \
                            the server's certificate and name"
                        .to_owned(),
                );
            }
        };
        let url = format!("{scheme}://{account}{known}");
        let mut config: Config = url.parse().map_err(|_| EXPECTED)?;
        config.ssl_mode(mode);
        let trust = trust.map_err(|error| error.to_string())?;
        Ok(Self { scheme: scheme.to_owned(), place: place.to_owned(), config, trust })
    }
}

impl PartialEq for DatabaseUrl {
    fn eq(&self, other: &Self) -> bool {
        (&self.scheme, &self.place, &self.config) == (&other.scheme, &other.place, &other.config)
    }
}

impl DatabaseUrl {
    /// Database, hosts and account, for people; without the password.
    pub fn place(&self) -> String {
        let config = &self.config;
        let port = |index: usize| {
            let ports = config.get_ports();
            ports.get(index).or(ports.first()).copied().unwrap_or(5432)
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

    /// This URL for another account. Account and password must need no encoding.
    pub fn for_account(&self, account: &str, password: &str) -> String {
        let mut place = self.place.clone();
        // An account in the options would win.
        tls::take_option(&mut place, "user");
        tls::take_option(&mut place, "password");
        format!("{}://{account}:{password}@{place}", self.scheme)
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
            ("postgresql://h:1/x?sslmode=require", "postgresql://a_b:pw@h:1/x?sslmode=require"),
            ("postgres://me:p?q/r@h1,h2:2/x", "postgres://a_b:pw@h1,h2:2/x"),
            ("postgres://me@%2Frun%2Fpg/x", "postgres://a_b:pw@%2Frun%2Fpg/x"),
            ("postgres://h/x?user=me&password=s3cret", "postgres://a_b:pw@h/x"),
        ] {
            let (given, other) = (read(url), read(url).for_account("a_b", "pw"));
            assert_eq!(other, expected);
            let other = read(&other).config;
            assert_eq!((other.get_user(), other.get_password()), (Some("a_b"), Some(&b"pw"[..])));
            assert_eq!(
                (other.get_hosts(), other.get_ports(), other.get_ssl_mode()),
                (given.config.get_hosts(), given.config.get_ports(), given.config.get_ssl_mode())
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
    fn options_are_found_behind_any_password() {
        let url = read("postgres://me:a?b@h/x?sslmode=require");
        assert_eq!(url.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(url.config.get_password(), Some(&b"a?b"[..]));
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
