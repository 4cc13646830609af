//! What to type after a lost answer.
//!
//! A second command would make a second hold. The same one gets the first one's answer, but only if
//! message id and times are the same: relative times would have moved on.

use crate::cli::context::Context;
use crate::cli::output::hint;
use crate::client::{ClientError, Command as Sent};

/// The command line that repeats a command; `None` for a query, which is simply asked again.
pub(super) struct Repeat(Option<Vec<String>>);

impl Repeat {
    /// `words` follow the server: what the command is about, with absolute times.
    pub(super) fn of(sent: &Sent, name: &str, words: &[&str], timeout: u64) -> Self {
        let server = sent.server.as_deref().unwrap_or_default();
        let mut all = vec!["client", name, "--server", server];
        all.extend(words);
        let timeout = timeout.to_string();
        // In one word, if the message id would be taken for a flag.
        let id = sent.message_id.as_str();
        let joined = format!("--message-id={id}");
        match id.starts_with('-') {
            true => all.push(&joined),
            false => all.extend(["--message-id", id]),
        }
        all.extend(["--timeout", &timeout]);
        Self(Some(all.into_iter().map(str::to_owned).collect()))
    }

    pub(super) fn query() -> Self {
        Self(None)
    }

    /// Prints what to type after `error`, unless the command certainly did not arrive.
    pub(super) fn advise(&self, context: &Context, error: &anyhow::Error) {
        if matches!(error.downcast_ref(), Some(ClientError::Unroutable(_))) {
            return;
        }
        match self.line(context.output.json) {
            Some(line) => hint!(
                "the command may have been decided; for its answer repeat this, with the same AMQP \
                 URL:\n  {line}"
            ),
            None => hint!("a query changes nothing: ask again"),
        }
    }

    /// Quoted for a shell. Without the URL, which is secret.
    fn line(&self, json: bool) -> Option<String> {
        let mut words = vec!["holdfast"];
        words.extend(json.then_some("--json"));
        words.extend(self.0.as_ref()?.iter().map(String::as_str));
        // A NUL cannot be an argument, so there is none.
        shlex::try_join(words).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::interval::Timestamp;

    #[test]
    fn any_message_id_survives_a_shell() {
        let at: Timestamp = "2031-05-01T18:00:00Z".parse().unwrap();
        let sent = Sent::request("it's $HOME", "gpu-1", at, at);
        let words = ["--start", "2031-05-01T18:00:00Z"];
        let line = Repeat::of(&sent, "request", &words, 10).line(true).unwrap();
        let split = shlex::split(&line).unwrap();
        assert_eq!(split[..2], ["holdfast", "--json"]);
        assert_eq!(split[split.len() - 4..split.len() - 2], ["--message-id", "it's $HOME"]);
        assert!(line.contains("--start 2031-05-01T18:00:00Z"), "{line}");
        assert_eq!(Repeat::query().line(false), None);
        let dashed = Sent::request("-1", "gpu-1", at, at);
        let line = Repeat::of(&dashed, "request", &words, 10).line(false).unwrap();
        assert!(shlex::split(&line).unwrap().contains(&"--message-id=-1".to_owned()), "{line}");
    }
}
