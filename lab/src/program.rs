//! The program under test.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// `holdfast`, which cargo built into the same directory as the running program.
pub fn beside_ourselves() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of the running program")?;
    let program = own.with_file_name("holdfast");
    if !program.is_file() {
        bail!("{} is missing; run this by `./dev`, which builds it", program.display());
    }
    Ok(program)
}
