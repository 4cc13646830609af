//! Why an operator changes something: recorded with the change.

use anyhow::Result;
use clap::Args;
use tokio_postgres::Client;

use crate::store::admin::audit;

/// A sentence or two; the audit is no archive.
const WHY_LEN_MAX: usize = 500;

#[derive(Args)]
pub(super) struct Why {
    /// Why, for those who look into it later: up to 500 characters, recorded with your name
    #[arg(long, value_name = "TEXT", value_parser = why)]
    pub(super) why: String,
}

impl Why {
    /// Has it recorded with the changes of this session.
    pub(super) async fn name(&self, client: &Client) -> Result<()> {
        Ok(audit::name_why(client, &self.why).await?)
    }
}

/// The same for a command with a flag `--dry-run`.
#[derive(Args)]
pub(super) struct WhyUnlessDry {
    /// Why, for those who look into it later: up to 500 characters, recorded with your name
    #[arg(long, value_name = "TEXT", value_parser = why, required_unless_present = "dry_run")]
    why: Option<String>,
}

impl WhyUnlessDry {
    /// Has it recorded with the changes of this session.
    pub(super) async fn name(&self, client: &Client) -> Result<()> {
        match &self.why {
            Some(why) => Ok(audit::name_why(client, why).await?),
            None => Ok(()),
        }
    }
}

fn why(text: &str) -> Result<String, String> {
    let text = text.trim();
    let readable = !text.chars().any(char::is_control);
    match readable && (1..=WHY_LEN_MAX).contains(&text.chars().count()) {
        true => Ok(text.to_owned()),
        false => Err(format!("a reason is 1 to {WHY_LEN_MAX} characters on one line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_line_that_says_something() {
        assert_eq!(why(" new disks ").as_deref(), Ok("new disks"));
        assert_eq!(why(&"é".repeat(WHY_LEN_MAX)).map(|why| why.len()), Ok(2 * WHY_LEN_MAX));
        for bad in ["", "  ", "a\nb", &"w".repeat(WHY_LEN_MAX + 1)] {
            assert!(why(bad).is_err(), "{bad:?}");
        }
    }
}
