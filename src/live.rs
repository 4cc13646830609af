//! Settings that are read anew at every connect, and how long an engine may refuse them.
//!
//! A setting from a file follows the file: a password is rotated by writing it. A certificate authority's
//! file is read with its URL. See `docs/decisions/0032-one-reading-of-each-url.md`.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::{info, warn};

/// How long an engine may refuse a setting that nothing can change while the process runs. An engine that
/// starts may refuse an account that it has not loaded yet, and one that is set up anew takes as long as whoever
/// makes the accounts.
pub const PATIENCE_FIXED: Duration = Duration::from_secs(60);

/// How long an engine may refuse a setting from a file, which may be written later than the engine learns
/// of the new password: platforms take a minute or two to pass on a changed secret.
pub const PATIENCE_FILE: Duration = Duration::from_secs(300);

/// Refusals further apart than this are not one refusal that lasts. Retries are seconds apart.
const GAP_MAX: Duration = Duration::from_secs(60);

/// What a URL leads to, with the authorities to trust.
pub trait Target: FromStr<Err = String> {
    /// The setting, for the log.
    const NAME: &'static str;

    /// Whether a running process may connect to this instead: the same database or vhost. The reason
    /// otherwise.
    fn may_replace(&self, first: &Self) -> Result<(), &'static str>;
}

/// A setting and where it comes from. Clones are the same setting.
pub struct Live<T>(Arc<Inner<T>>);

struct Inner<T> {
    file: Option<PathBuf>,
    first: Arc<T>,
    last: Mutex<(String, Arc<T>)>,
    refusals: Mutex<Refusals>,
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Target> FromStr for Live<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let first = Arc::new(text.parse::<T>()?);
        let last = Mutex::new((text.to_owned(), first.clone()));
        Ok(Self(Arc::new(Inner { file: None, first, last, refusals: Mutex::default() })))
    }
}

impl<T: Target> Live<T> {
    /// The same setting, which follows a file.
    pub fn in_file(self, path: &Path) -> Self {
        let first = self.0.first.clone();
        let last = Mutex::new(lock(&self.0.last).clone());
        let file = Some(path.to_owned());
        Self(Arc::new(Inner { file, first, last, refusals: Mutex::default() }))
    }

    /// What was read when the process started.
    pub fn first(&self) -> &T {
        &self.0.first
    }

    /// What is to be used now. If the file, or that of the authorities, is unreadable or wrong, what was
    /// last read without error.
    pub fn current(&self) -> Arc<T> {
        let mut last = lock(&self.0.last);
        match self.read_anew(&last.0) {
            Ok((text, target)) => {
                if last.0 != text {
                    info!("{} has changed in its file", T::NAME);
                }
                *last = (text, Arc::new(target));
            }
            Err(reason) => {
                warn!("{}: {reason}; what was read before is used", T::NAME);
            }
        }
        last.1.clone()
    }

    fn read_anew(&self, last: &str) -> Result<(String, T), String> {
        let text = match &self.0.file {
            Some(path) => of_file(path)?.ok_or("the file is empty")?,
            None => last.to_owned(),
        };
        let target: T = text.parse()?;
        target.may_replace(&self.0.first)?;
        Ok((text, target))
    }

    /// Notes how a connect ended: `refused` if the engine refused the credentials, or could not prove who
    /// it is.
    pub fn note(&self, refused: bool) {
        let mut refusals = lock(&self.0.refusals);
        if refused { refusals.add(Instant::now()) } else { *refusals = Refusals::default() }
    }

    /// How long the engine has been refusing, once that is longer than a remedy may take.
    pub fn hopeless(&self) -> Option<Duration> {
        let patience = if self.0.file.is_some() { PATIENCE_FILE } else { PATIENCE_FIXED };
        lock(&self.0.refusals).lasting().filter(|lasting| *lasting >= patience)
    }
}

/// Refusals without anything else in between.
#[derive(Default)]
struct Refusals(Option<(Instant, Instant)>);

impl Refusals {
    fn add(&mut self, now: Instant) {
        let first = match self.0 {
            Some((first, last)) if now - last <= GAP_MAX => first,
            _ => now,
        };
        self.0 = Some((first, now));
    }

    fn lasting(&self) -> Option<Duration> {
        self.0.map(|(first, last)| last - first)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A setting's text without white space at its ends; `None` if nothing remains. The one rule for variables,
/// flags and files. Errors repeat nothing.
pub fn trimmed(text: &str) -> Result<Option<&str>, String> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    match text.contains(char::is_control) {
        true => Err("has a line break or another control character inside".to_owned()),
        false => Ok(Some(text).filter(|text| !text.is_empty())),
    }
}

/// A file's text, by the same rule. Errors leave out the path, which may be a misplaced secret.
pub fn of_file(path: &Path) -> Result<Option<String>, String> {
    Ok(trimmed(&text_of(path)?)?.map(str::to_owned))
}

/// A file's text as it is. Errors leave out the path, too.
pub fn text_of(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path)
        .map_err(|error| format!("cannot read the file that is named: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "the file that is named is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Word(String);

    impl FromStr for Word {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            match text {
                "bad" => Err("is bad".to_owned()),
                text => Ok(Self(text.to_owned())),
            }
        }
    }

    impl Target for Word {
        const NAME: &'static str = "the word";

        fn may_replace(&self, _: &Self) -> Result<(), &'static str> {
            if self.0 == "elsewhere" { Err("leads elsewhere") } else { Ok(()) }
        }
    }

    #[test]
    fn a_file_is_read_at_every_use_and_the_last_good_value_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("word");
        let live = "first".parse::<Live<Word>>().unwrap().in_file(&path);
        for (content, expected) in [
            (None, "first"),
            (Some(&b" second\r\n"[..]), "second"),
            (Some(b"bad"), "second"),
            (Some(b" \n"), "second"),
            (Some(b"two\nlines"), "second"),
            (Some(b"\xff"), "second"),
            (Some(b"elsewhere"), "second"),
            (Some(b"third"), "third"),
        ] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            assert_eq!(live.current().0, expected, "{content:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!((live.current().0.as_str(), live.first().0.as_str()), ("third", "first"));
    }

    #[test]
    fn only_refusals_that_last_are_hopeless() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        assert_eq!(refusals.lasting(), None);
        for seconds in [0, 50, 100] {
            refusals.add(start + Duration::from_secs(seconds));
        }
        assert_eq!(refusals.lasting(), Some(Duration::from_secs(100)));
        // Nothing was tried meanwhile, so nothing is known.
        refusals.add(start + Duration::from_secs(500));
        assert_eq!(refusals.lasting(), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_fixed_is_given_up_earlier_and_success_forgives() {
        let dir = tempfile::tempdir().unwrap();
        let refused_for = |live: &Live<Word>, lasting: Duration| {
            let now = Instant::now();
            lock(&live.0.refusals).0 = Some((now, now + lasting));
        };
        let fixed: Live<Word> = "x".parse().unwrap();
        let file = "x".parse::<Live<Word>>().unwrap().in_file(&dir.path().join("x"));
        for live in [&fixed, &file] {
            refused_for(live, PATIENCE_FIXED);
        }
        assert_eq!((fixed.hopeless(), file.hopeless()), (Some(PATIENCE_FIXED), None));
        refused_for(&file, PATIENCE_FILE);
        assert_eq!(file.clone().hopeless(), Some(PATIENCE_FILE));
        file.note(false);
        assert_eq!(file.hopeless(), None);
    }
}
