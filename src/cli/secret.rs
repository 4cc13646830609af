//! Passwords of accounts. An account's URL is written out before it becomes valid, so that no password is
//! lost: if it cannot be written, nothing is made.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use rand::Rng;
use rand::distr::Alphanumeric;
use serde_json::{Value, json};

use super::exit::refuse;
use super::output::{Output, hint};

/// 32 alphanumerics are 190 bits.
const PASSWORD_LEN: usize = 32;

/// Where an account's URL goes.
#[derive(Args)]
pub(super) struct UrlFile {
    /// Write the URL to this new file, which only you can read, instead of printing it
    #[arg(long, value_name = "PATH")]
    url_file: Option<PathBuf>,
}

/// A URL that is about to become valid.
pub(super) struct NewUrl {
    /// Whose it is, for people.
    pub(super) about: String,
    /// The result for programs, without the URL.
    pub(super) value: Value,
    /// The URL's name in it.
    pub(super) key: &'static str,
    pub(super) url: String,
}

pub(super) fn new_password() -> String {
    rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LEN).map(char::from).collect()
}

impl UrlFile {
    /// Whether the URL shall go to a file.
    pub(super) fn is_wanted(&self) -> bool {
        self.url_file.is_some()
    }

    /// Writes the URL out, and then makes it valid. If that fails, a file is removed again.
    pub(super) async fn write_first(
        &self,
        output: Output,
        mut new: NewUrl,
        make_valid: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let whose = format!("{}; its URL, with the password,", new.about);
        match &self.url_file {
            Some(path) => {
                create(path, &new.url)?;
                new.value["url_file"] = json!(path);
                hint!("{whose} is written to {}", path.display());
            }
            None => {
                hint!("{whose} is shown this once:");
                new.value[new.key] = json!(new.url);
                print(output, &new)?;
            }
        }
        if let Err(error) = make_valid.await {
            if let Some(path) = &self.url_file {
                std::fs::remove_file(path).ok();
            }
            return Err(error.context("the URL is not valid"));
        }
        match &self.url_file {
            Some(_) if output.json => output.print(&new.value, String::new),
            _ => Ok(()),
        }
    }
}

/// A closed output is an error here: its reader lacks the password.
fn print(output: Output, new: &NewUrl) -> Result<()> {
    let text = if output.json { serde_json::to_string(&new.value)? } else { new.url.clone() };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| {
        anyhow!(
            "the URL cannot be written to standard output ({error}), so nothing was changed; mend that, or \
             name a file with --url-file"
        )
    })
}

/// Creates a file with the URL, on disk when this returns.
fn create(path: &Path, url: &str) -> Result<()> {
    let shown = path.display();
    let failed = || format!("--url-file {shown}: cannot be written, so nothing was changed");
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return refuse(format!("--url-file {shown}: exists already; name a new file"));
        }
        Err(error) => return Err(error).with_context(failed),
    };
    let written = writeln!(file, "{url}").and_then(|()| file.sync_all()).and_then(|()| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    });
    written.inspect_err(|_| drop(std::fs::remove_file(path))).with_context(failed)
}

/// Why an administrator's account, say, is left alone.
pub(super) fn tagged(account: &str, tags: &str) -> String {
    format!(
        "account {account}: exists on the broker with the tag {tags}, so it is somebody's who manages the \
         broker; choose another name"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_file_is_new_private_and_gone_after_a_failure() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("url");
        let file = UrlFile { url_file: Some(path.clone()) };
        let new = || NewUrl {
            about: "x".to_owned(),
            value: json!({}),
            key: "url",
            url: "amqp://x".to_owned(),
        };
        let output = Output { json: false };
        let failed = file.write_first(output, new(), async { Err(anyhow!("no")) }).await;
        assert_eq!(format!("{:#}", failed.expect_err("it fails")), "the URL is not valid: no");
        assert!(!path.exists());
        let made = file.write_first(output, new(), async {
            assert_eq!(std::fs::read_to_string(&path).expect("written first"), "amqp://x\n");
            Ok(())
        });
        made.await.expect("made");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = file.write_first(output, new(), async { panic!("made without a file") });
        assert!(again.await.is_err(), "it exists");
    }
}
