//! Access keys: what a terminal shows a streaming server to be let in for its confirmed reservation.
//!
//! A key is derived from a secret that only workers have, and never stored: the database has its hash. See
//! `docs/decisions/0037-access-keys-are-derived.md`.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How every key begins, so that one in a log is found.
pub const PREFIX: &str = "hfk_";

/// Bytes of a key before they are written in base32: 160 bits, as no number of tries finds.
const KEY_BYTES: usize = 20;

/// What the derivation is for, so that the same secret elsewhere gives other keys.
const PURPOSE: &str = "holdfast access v1";

/// The same for a secret's fingerprint.
const FINGERPRINT: &str = "holdfast access fingerprint v1";

/// The epoch of a reservation's first key.
pub const FIRST_EPOCH: i32 = 1;

/// Shortest secret, in bytes: at 6 bits each more than a key has. From a shorter one's fingerprint it could be
/// guessed.
const SECRET_LEN_MIN: usize = 32;

/// Longest secret, in bytes. More bits than this do not make it better.
const SECRET_LEN_MAX: usize = 1_024;

/// Most secrets at a time: the one in use, and those of keys that are still valid. A reservation lies two years
/// ahead at most.
const SECRETS_MAX: usize = 16;

/// Longest id of a secret, in bytes.
const ID_LEN_MAX: usize = 32;

/// A reservation's access key. It has no `Display`, and its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key that a message has brought.
    pub fn received(text: String) -> Self {
        Self(text)
    }

    /// The key itself, for the one who may have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the database has of it: SHA-256 of its text.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Of which a reservation's key is derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// How many keys the reservation has had, with this one.
    pub epoch: i32,
    /// The secret's id. `None`: it was rotated, and no worker has derived it yet.
    pub secret: Option<String>,
}

/// A secret under its id.
#[derive(Clone)]
pub struct Secret {
    /// Names it in the database.
    pub id: String,
    bytes: Vec<u8>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Secret {
    /// The key of a reservation's epoch.
    pub fn key(&self, reservation: Uuid, epoch: i32) -> Key {
        let name = format!("{PURPOSE}\0{reservation}\0{epoch}");
        let bytes = self.mac(&name);
        let text = BASE32_NOPAD.encode(&bytes[..KEY_BYTES]).to_ascii_lowercase();
        Key(format!("{PREFIX}{text}"))
    }

    /// Tells whether two workers have the same secret under one id.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.mac(FINGERPRINT)
    }

    fn mac(&self, name: &str) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.bytes);
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(name.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// The secrets of an installation; at least one.
#[derive(Debug, Clone)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Reads lines `id:secret`, the one for new keys first. Errors name lines and never repeat them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut secrets: Vec<Secret> = Vec::new();
        let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let secret = parse_line(line).map_err(|why| format!("line {number}: {why}"))?;
            if secrets.iter().any(|other| other.id == secret.id) {
                return Err(format!("line {number}: its id stands on an earlier line, too"));
            }
            secrets.push(secret);
        }
        match secrets.len() {
            0 => Err("has no line ID:SECRET".to_owned()),
            1..=SECRETS_MAX => Ok(Self(secrets)),
            many => Err(format!("has {many} secrets; at most {SECRETS_MAX} are read")),
        }
    }

    /// The one of which new keys are derived.
    pub fn newest(&self) -> &Secret {
        &self.0[0]
    }

    /// All, newest first.
    pub fn all(&self) -> &[Secret] {
        &self.0
    }

    /// A reservation's key. `None`: it is not derived yet, or of a secret that is not here.
    pub fn key(&self, reservation: Uuid, access: &Access) -> Option<Key> {
        let id = access.secret.as_deref()?;
        let secret = self.0.iter().find(|secret| secret.id == id)?;
        Some(secret.key(reservation, access.epoch))
    }
}

fn parse_line(line: &str) -> Result<Secret, String> {
    let (id, secret) = line.split_once(':').ok_or("is not of the form ID:SECRET")?;
    let is_id = (1..=ID_LEN_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_id {
        return Err(format!("its id is not 1 to {ID_LEN_MAX} characters of a-z, 0-9 and '-'"));
    }
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("its secret has a character that is no visible ASCII".to_owned());
    }
    if !(SECRET_LEN_MIN..=SECRET_LEN_MAX).contains(&secret.len()) {
        return Err(format!(
            "its secret has {} characters, expected {SECRET_LEN_MIN} to {SECRET_LEN_MAX}; make one with \
             `openssl rand -base64 33`",
            secret.len()
        ));
    }
    Ok(Secret { id: id.to_owned(), bytes: secret.as_bytes().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "
        b2:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
        a1:0123456789abcdef0123456789abcdef";

    fn reservation() -> Uuid {
        "01a207ac-4fe7-70d8-ad75-75af93e63c96".parse().unwrap()
    }

    /// From `printf 'holdfast access v1\0<reservation>\0%d' 1 | openssl dgst -sha256 -hmac <secret> -binary`,
    /// its first 20 bytes in base32.
    #[test]
    fn a_key_is_what_other_programs_derive() {
        let secrets = Secrets::parse(LINES).unwrap();
        let of = |epoch| Access { epoch, secret: Some("a1".to_owned()) };
        let key = |epoch| secrets.key(reservation(), &of(epoch)).unwrap();
        assert_eq!(key(1).reveal(), "hfk_rpdssa4wczfxeikheyrnkbbn3mbe2gjy");
        assert_eq!(key(2).reveal(), "hfk_kezhxsdz2qrn2x7qcjz4m4f7sz4qybgv");
        let hash: String = key(1).hash().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "394da52016d66e1706ab3e485a1c7f634458bc2d98c2f89d1c43d73d1089a515");
    }

    #[test]
    fn keys_differ_by_reservation_epoch_and_secret() {
        let secrets = Secrets::parse(LINES).unwrap();
        let [new, old] = [0, 1].map(|at| &secrets.all()[at]);
        assert_eq!((secrets.newest().id.as_str(), old.id.as_str()), ("b2", "a1"));
        let keys = [
            new.key(reservation(), 1),
            new.key(reservation(), 2),
            new.key(Uuid::nil(), 1),
            old.key(reservation(), 1),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
        assert_ne!(new.fingerprint(), old.fingerprint());
        let unknown = |secret: Option<&str>| Access { epoch: 1, secret: secret.map(str::to_owned) };
        assert_eq!(secrets.key(reservation(), &unknown(None)), None);
        assert_eq!(secrets.key(reservation(), &unknown(Some("c3"))), None);
    }

    #[test]
    fn neither_keys_nor_secrets_are_shown() {
        let secrets = Secrets::parse(LINES).unwrap();
        let key = secrets.newest().key(reservation(), 1);
        let shown = format!("{secrets:?} {key:?}");
        assert!(!shown.contains("bbbb") && !shown.contains(PREFIX), "{shown}");
    }

    #[test]
    fn errors_name_the_line_and_not_the_secret() {
        let good = "0123456789abcdef0123456789abcdef";
        for (text, why) in [
            (String::new(), "no line"),
            (good.to_owned(), "line 1: is not of the form"),
            (format!("A:{good}"), "line 1: its id"),
            (format!("a:{good}\n\na:{good}"), "line 3: its id stands"),
            (format!("a:{good}\nb:{}", &good[1..]), "line 2: its secret has 31 characters"),
            (format!("a:{good} x"), "line 1: its secret has a character"),
        ] {
            let error = Secrets::parse(&text).unwrap_err();
            assert!(error.starts_with(why) || error.contains(why), "{error}");
            assert!(!error.contains(&good[1..]), "{error}");
        }
        let many: Vec<String> = (0..=SECRETS_MAX).map(|n| format!("s{n}:{good}")).collect();
        assert!(Secrets::parse(&many.join("\n")).is_err());
    }
}
