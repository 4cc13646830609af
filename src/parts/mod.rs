//! One strict reading of URLs with credentials, and printing by the same rule.
//!
//! The text between `://` and the only `@` is account and password; a second `@`, and any other character
//! that has a meaning in URLs, must be percent-encoded. So no part of a password can be taken for a host, a
//! path or an option, whatever was forgotten to encode, and `host`, `path` and account can be shown. Errors
//! repeat nothing of the text. See `docs/decisions/0032-one-reading-of-each-url.md`.

use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// RFC 3986: everything but the unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// An option's value may have these, too; a file's path stays legible.
const IN_VALUES: &AsciiSet = &RESERVED.remove(b'/').remove(b':');

const ENCODE: &str = "has a character that must be percent-encoded in an account, a password, a path or an \
    option: %25 for %, %40 for @, %2F for /, %3F for ?, %23 for #, %5B for [, %20 for a space";

/// Options that other programs read and Holdfast does not. Only these are named in errors: an unknown one may
/// be a piece of a password.
const FOREIGN: [&str; 33] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "passfile",
    "require_auth",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "sslcompression",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "krbsrvname",
    "gsslib",
    "gssencmode",
    "gssdelegation",
    "service",
    "replication",
    "client_encoding",
    "fallback_application_name",
    "keepalives_count",
    "load_balance_hosts",
    "certfile",
    "keyfile",
    "verify",
    "fail_if_no_peer_cert",
    "server_name_indication",
    "depth",
];

/// What a kind of URL may have.
pub struct Form {
    /// Shown if the text is no such URL at all.
    pub expected: &'static str,
    /// Schemes, in lower case.
    pub schemes: &'static [&'static str],
    /// Names of options.
    pub options: &'static [&'static str],
    /// Whether several hosts and socket directories are allowed, as PostgreSQL has them.
    pub several_hosts: bool,
}

/// An account, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Never empty.
    pub name: String,
    /// Never empty.
    pub password: Option<String>,
}

/// A host, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Host {
    /// A name, an IP address without brackets, or the absolute path of a socket's directory.
    pub name: String,
    /// Never 0.
    pub port: Option<u16>,
}

/// A URL's parts, decoded. May be secret, so without `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Parts {
    /// One of the form's.
    pub scheme: &'static str,
    /// What is before the `@`.
    pub account: Option<Account>,
    /// At least one.
    pub hosts: Vec<Host>,
    /// One text per `/`; empty without any.
    pub path: Vec<String>,
    /// In their order, each name once.
    pub options: Vec<(&'static str, String)>,
}

impl Parts {
    /// Reads a URL. Errors say what was expected, and repeat nothing of it.
    pub fn read(text: &str, form: &Form) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or(form.expected)?;
        let scheme = form.schemes.iter().find(|known| **known == scheme).ok_or(form.expected)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if !is_clean(query, ":/") || !is_clean(path, ":/") {
            return Err(ENCODE.to_owned());
        }
        if path.contains(['&', '=', ';']) {
            return Err("has a &, = or ; in its path: options begin after a ?, and in a name these are %26, \
                        %3D and %3B"
                .to_owned());
        }
        let (account, hosts) = match authority.split_once('@') {
            Some((account, hosts)) => (Some(account), hosts),
            None => (None, authority),
        };
        let path = path.split('/').skip(1).map(decoded).collect::<Result<_, _>>()?;
        Ok(Self {
            scheme,
            account: account.map(read_account).transpose()?,
            hosts: read_hosts(hosts, form)?,
            path,
            options: read_options(query, form)?,
        })
    }

    /// The URL, which [`Parts::read`] reads as the same parts.
    pub fn print(&self) -> String {
        let encoded = |text| utf8_percent_encode(text, RESERVED).to_string();
        let account = self.account.as_ref().map_or_else(String::new, |account| {
            let password = account.password.as_ref();
            let password = password.map_or_else(String::new, |text| format!(":{}", encoded(text)));
            format!("{}{password}@", encoded(&account.name))
        });
        let hosts: Vec<String> = self.hosts.iter().map(Host::print).collect();
        let path: String = self.path.iter().map(|text| format!("/{}", encoded(text))).collect();
        let options: Vec<String> = self
            .options
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, IN_VALUES)))
            .collect();
        let query = if options.is_empty() { "" } else { "?" };
        format!("{}://{account}{}{path}{query}{}", self.scheme, hosts.join(","), options.join("&"))
    }

    /// An option's value.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The same place for another account.
    pub fn with_account(mut self, name: &str, password: &str) -> Self {
        self.account = Some(Account { name: name.to_owned(), password: Some(password.to_owned()) });
        self
    }
}

impl Host {
    fn print(&self) -> String {
        let name = match &self.name {
            name if name.starts_with('/') => utf8_percent_encode(name, RESERVED).to_string(),
            name if name.contains(':') => format!("[{name}]"),
            name => name.clone(),
        };
        self.port.map_or(name.clone(), |port| format!("{name}:{port}"))
    }
}

/// Whether a text has only unreserved characters, sub-delimiters, percent-encodings and `also`.
fn is_clean(text: &str, also: &str) -> bool {
    let one = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=%".contains(c);
    text.chars().all(|c| one(c) || also.contains(c))
        && text.split('%').skip(1).all(|after| {
            let mut digits = after.chars().take(2).filter(char::is_ascii_hexdigit);
            digits.by_ref().count() == 2
        })
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    match text.map(std::borrow::Cow::into_owned) {
        Ok(text) if !text.contains(char::is_control) => Ok(text),
        Ok(_) => Err("has a percent-encoded control character".to_owned()),
        Err(_) => Err("has percent-encoded bytes that are not UTF-8".to_owned()),
    }
}

fn read_account(text: &str) -> Result<Account, String> {
    if !is_clean(text, ":") {
        return Err(ENCODE.to_owned());
    }
    let (name, password) = match text.split_once(':') {
        Some((name, password)) => (name, Some(decoded(password)?)),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("names no account before the @".to_owned());
    }
    if password.as_ref().is_some_and(String::is_empty) {
        return Err("has an empty password; leave out the colon if there is none".to_owned());
    }
    Ok(Account { name: decoded(name)?, password })
}

fn read_hosts(text: &str, form: &Form) -> Result<Vec<Host>, String> {
    if text.contains('@') {
        return Err(ENCODE.to_owned());
    }
    if text.is_empty() {
        return Err("names no host".to_owned());
    }
    if !form.several_hosts && text.contains(',') {
        return Err("must name one host; in a password, percent-encode @ as %40".to_owned());
    }
    text.split(',').map(|host| read_host(host, form)).collect()
}

fn read_host(text: &str, form: &Form) -> Result<Host, String> {
    let wrong = || {
        let also = if form.several_hosts {
            ", or a socket's directory as %2Frun%2Fpostgresql"
        } else {
            ""
        };
        format!(
            "has a host that is no name, IPv4 address or IPv6 address in brackets{also}; it may be a password \
             with a character that must be percent-encoded"
        )
    };
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !text.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let port = port.map(|port| match port.parse() {
        Ok(number @ 1_u16..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(
            "has a port that is no number from 1 to 65535; it may be a password with a character \
                  that must be percent-encoded",
        ),
    });
    let port = port.transpose()?;
    let name = if let Some(inside) = name.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|text| text.parse::<Ipv6Addr>().ok());
        address.ok_or_else(wrong)?.to_string()
    } else if form.several_hosts && name.get(..3).is_some_and(|s| s.eq_ignore_ascii_case("%2f")) {
        Some(name).filter(|name| is_clean(name, "")).ok_or_else(wrong)?;
        decoded(name)?
    } else {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        Some(name.to_owned())
            .filter(|name| !name.is_empty() && name.chars().all(plain))
            .ok_or_else(wrong)?
    };
    Ok(Host { name, port })
}

fn read_options(query: &str, form: &Form) -> Result<Vec<(&'static str, String)>, String> {
    let mut options: Vec<(&'static str, String)> = Vec::new();
    for pair in query.split('&').filter(|_| !query.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if matches!(name, "user" | "username" | "password") {
            return Err("has credentials among its options; they belong before the host, as \
                        account:password@host"
                .to_owned());
        }
        let Some(known) = form.options.iter().find(|known| **known == name) else {
            return Err(match FOREIGN.iter().find(|foreign| **foreign == name) {
                Some(foreign) => format!("has the option {foreign}, which is not supported"),
                None => format!("has an unknown option; known are {}", form.options.join(", ")),
            });
        };
        if options.iter().any(|(given, _)| given == known) {
            return Err(format!("has the option {known} twice"));
        }
        if value.is_empty() {
            return Err(format!("has the option {known} without a value"));
        }
        options.push((known, decoded(value)?));
    }
    Ok(options)
}

/// An option that is a number.
pub fn number<T: std::str::FromStr>(parts: &Parts, name: &str) -> Result<Option<T>, String> {
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(text) = parts.option(name) else { return Ok(None) };
    let number = Some(text).filter(digits).and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| format!("{name} must be a whole number, not negative or too large"))
}

/// An option with a choice of values.
pub fn choice<T: Copy>(
    parts: &Parts,
    name: &str,
    choices: &[(&str, T)],
) -> Result<Option<T>, String> {
    let Some(text) = parts.option(name) else { return Ok(None) };
    match choices.iter().find(|(known, _)| *known == text) {
        Some((_, value)) => Ok(Some(*value)),
        None => {
            let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
            Err(format!("{name} must be one of {}", known.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests;
