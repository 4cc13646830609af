//! The scenes, in order.

mod confirmed;
mod freed;
mod killed;
mod outage;
mod quota;

use anyhow::Result;

use crate::stage::Stage;

pub async fn play(stage: &mut Stage) -> Result<()> {
    confirmed::play(stage).await?;
    freed::play(stage).await?;
    quota::play(stage).await?;
    killed::play(stage).await?;
    outage::play(stage).await
}
