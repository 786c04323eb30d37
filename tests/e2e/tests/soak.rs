//! The soak, for ten minutes with a hundred pods unless the environment says otherwise: `COXSWAIN_SOAK_SECONDS`,
//! `COXSWAIN_SOAK_PODS`, `COXSWAIN_SOAK_SEED`. Run by `scripts/test --soak`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::{Host, Soak, soak};

fn number(name: &str, otherwise: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is no number: {text}")),
        Err(_) => Ok(otherwise),
    }
}

fn main() -> Result<()> {
    let how = Soak {
        pods: usize::try_from(number("COXSWAIN_SOAK_PODS", 100)?)?,
        time: Duration::from_secs(number("COXSWAIN_SOAK_SECONDS", 600)?),
        seed: number("COXSWAIN_SOAK_SEED", u64::from(std::process::id()))?,
    };
    tokio::runtime::Runtime::new()?.block_on(async {
        let host = Host::start().await?;
        let soaked = soak(&host, how).await;
        let ended = host.end().await;
        soaked.with_context(|| format!("{how:?}"))?;
        ended
    })
}
