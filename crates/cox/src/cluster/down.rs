//! `cox down`: ends the supervisor, which ends the daemons, and has the node's daemons take away what they made:
//! containers, interfaces, rules, routes, mounts.

use std::path::Path;

use tokio::process::Command;

use crate::cli::{DownArgs, Global};
use crate::cluster::DataDir;
use crate::error::CoxError;
use crate::output::Out;
use crate::supervisor::{daemons, state};

pub(crate) async fn down(global: &Global, args: &DownArgs, out: &mut Out) -> Result<(), CoxError> {
    let dir = DataDir::new(&global.data_dir);
    let ended = state::end_supervisor(&dir).await?;
    out.message(if ended { "the daemons have ended" } else { "no daemon runs" });
    let nodes = dir.path().join("nodes");
    let mut failed = Vec::new();
    for node in std::fs::read_dir(&nodes).into_iter().flatten().flatten() {
        for cleanup in daemons::cleanups(&node.path()) {
            match run(cleanup.program.as_ref(), &cleanup.arguments).await {
                // Done: a second `cox down` has nothing to do, and needs no engine for it.
                Ok(()) => {
                    let file = node.path().join(format!("{}.args", cleanup.name));
                    std::fs::remove_file(&file).map_err(CoxError::file("remove", &file))?;
                }
                Err(why) => failed.push(format!("{}: {why}", cleanup.name)),
            }
        }
    }
    if !failed.is_empty() {
        return Err(CoxError::Failed(failed.join("; ")));
    }
    if nodes.exists() {
        out.message("containers, interfaces and rules are gone");
    }
    if args.purge && dir.path().exists() {
        std::fs::remove_dir_all(dir.path()).map_err(CoxError::file("remove", dir.path()))?;
        out.message("the data is gone");
    }
    Ok(())
}

async fn run(program: &Path, arguments: &[String]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned())
}
