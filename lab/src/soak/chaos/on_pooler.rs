//! A connection pooler in a worker's way to the database.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Chaos;
use super::on_surroundings::alive;
use super::on_workers::replace_with;
use super::pgbouncer::{Mode, PgBouncer};
use crate::installation::url_at_port;
use crate::operator::{self, Ended};
use crate::pick::Pick;
use crate::workers::{Environment, LogTo, Variation};

/// Bound on a worker that has to be refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

/// Exit code for wrong settings.
const CONFIG: i32 = 78;

/// Puts a pooler that drops session settings before the worker at the first place, and before one more. They
/// must be refused, with the reason; the others go on, and without the pooler it is back.
pub async fn pooler(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let mode = pick.weighted(&[(1, Mode::Session), (1, Mode::Transaction)]);
    let mut environment = chaos.installation.environment()?;
    let direct = environment.iter().find(|(name, _)| *name == "DATABASE_URL");
    let direct = direct.context("a database")?.1.clone();
    let bouncer = PgBouncer::start(mode, &direct.parse()?).await?;
    let variables = vec![("DATABASE_URL", url_at_port(&direct, Some(bouncer.port))?)];
    environment.extend(variables.clone());
    replace_with(chaos, Variation { variables, log: LogTo::File }).await?;
    let refused = refused(chaos, environment).await;
    replace_with(chaos, Variation::default()).await?;
    refused?;
    alive(chaos).await?;
    Ok(format!("of {mode:?}s: refused"))
}

async fn refused(chaos: &Chaos, environment: Environment) -> Result<()> {
    let ended = operator::end_of(&chaos.program, environment, &["worker"], REFUSED_WITHIN).await?;
    let wrong = match ended {
        None => "is not refused".to_owned(),
        Some(Ended { status, complaints, .. }) => {
            // Otherwise an engine is away.
            ensure!(complaints.contains("pooler"), "{status}: {complaints}");
            match status.code() {
                Some(CONFIG) => return Ok(()),
                _ => format!("is refused with {status}"),
            }
        }
    };
    chaos.setting.tally.failed(format!("a worker behind a pooler {wrong}"));
    Ok(())
}
