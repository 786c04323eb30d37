//! `cox restore`: makes the store of this machine's cluster of a backup, while the cluster is down. The next `cox up`
//! starts with it: nodes then end what the backup does not have and start what it has.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::process::Command;

use crate::cli::{Global, RestoreArgs};
use crate::cluster::DataDir;
use crate::error::CoxError;
use crate::output::Out;
use crate::supervisor::{daemons, state};

pub(crate) async fn restore(global: &Global, args: &RestoreArgs, out: &mut Out) -> Result<(), CoxError> {
    let dir = DataDir::new(&global.data_dir);
    std::fs::create_dir_all(dir.run()).map_err(CoxError::file("make", dir.run()))?;
    // Held until the end: no cluster starts meanwhile.
    let Some(_lock) = state::take_lock(&dir)? else {
        return Err(CoxError::Failed("the cluster is up: end it first, with `cox down`".to_owned()));
    };
    let store = dir.store();
    let aside = if holds_objects(&store) {
        if !args.replace {
            let why = format!("{} holds a store; --replace sets it aside", store.display());
            return Err(CoxError::Failed(why));
        }
        if is_in_use(&store)? {
            return Err(CoxError::Failed("an apiserver has the store open: end it first".to_owned()));
        }
        let aside = free_name(&store);
        std::fs::rename(&store, &aside).map_err(CoxError::file("set aside", &store))?;
        Some(aside)
    } else {
        None
    };
    let spec = daemons::restore(&dir, &args.file);
    let run = Command::new(&spec.program).args(&spec.arguments).output().await;
    let output = run.map_err(CoxError::file("run", &spec.program))?;
    if !output.status.success() {
        if let Some(aside) = &aside {
            // What the failed attempt left is not a store.
            let _not_there = std::fs::remove_dir_all(&store);
            std::fs::rename(aside, &store).map_err(CoxError::file("put back", aside))?;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.trim().lines().last().unwrap_or_default();
        return Err(CoxError::Failed(format!("nothing was restored: {why}")));
    }
    if let Some(aside) = aside {
        out.message(&format!("the store that was there is {} now", aside.display()));
    }
    out.line("restored; `cox up` starts the cluster with it");
    Ok(())
}

/// Whether there is a store that something was written to.
fn holds_objects(store: &Path) -> bool {
    let names = std::fs::read_dir(store).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name()).any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("main-") && name.ends_with(".log")
    })
}

/// Whether an apiserver has it open, one without a supervisor too.
fn is_in_use(store: &Path) -> Result<bool, CoxError> {
    let path = store.join("LOCK");
    let Ok(file) = OpenOptions::new().write(true).open(&path) else { return Ok(false) };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => Ok(false),
        Err((_, Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, error)) => Err(CoxError::file("lock", path)(error.into())),
    }
}

/// A name beside the store that nothing has.
fn free_name(store: &Path) -> PathBuf {
    let numbered = |number: u32| store.with_file_name(format!("store.replaced-{number}"));
    (1..).map(numbered).find(|path| !path.exists()).expect("some number is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_recognized_and_set_aside_under_a_name_that_is_free() {
        let folder = tempfile::tempdir().expect("a directory");
        let store = folder.path().join("store");
        assert!(!holds_objects(&store));
        std::fs::create_dir(&store).expect("made");
        std::fs::write(store.join("kept-00000001.log.tmp"), "").expect("written");
        assert!(!holds_objects(&store), "an unfinished restore is no store");
        std::fs::write(store.join("main-00000001.log"), "").expect("written");
        assert!(holds_objects(&store));
        std::fs::create_dir(folder.path().join("store.replaced-1")).expect("made");
        assert_eq!(free_name(&store), folder.path().join("store.replaced-2"));
    }
}
