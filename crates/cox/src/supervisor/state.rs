//! What other commands know of the supervisor: a lock that it holds while it lives, and a file that says which
//! daemons run. Both survive a `kill -9` of the supervisor; the kernel lets go of the lock.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cluster::DataDir;
use crate::error::CoxError;

/// How long a daemon may take to end by itself before it is killed. Longer than any daemon's own grace.
const GRACE: Duration = Duration::from_secs(20);

/// A log is set aside when it has grown beyond this many bytes.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// What the supervisor tells `cox up`, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Progress {
    Step(String),
    Ready,
    Failed(String),
}

/// Which processes there are.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) supervisor: i32,
    pub(crate) node: String,
    pub(crate) daemons: Vec<DaemonState>,
}

/// One daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DaemonState {
    pub(crate) name: String,
    /// `None` while it is waiting to be started again.
    pub(crate) pid: Option<i32>,
    pub(crate) restarts: u32,
    /// How it ended last.
    pub(crate) last_exit: Option<String>,
}

impl State {
    pub(crate) fn load(dir: &DataDir) -> Self {
        std::fs::read(dir.state())
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Replaces the file.
    pub(crate) fn save(&self, dir: &DataDir) -> Result<(), CoxError> {
        let (path, temporary) = (dir.state(), dir.run().join("state.json.tmp"));
        let text = serde_json::to_vec_pretty(self).expect("a state holds only what JSON can");
        File::create(&temporary)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(CoxError::file("write", &path))
    }
}

/// The supervisor's lock, or `None` when another one holds it.
pub(crate) fn take_lock(dir: &DataDir) -> Result<Option<Flock<File>>, CoxError> {
    let path = dir.lock();
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    match Flock::lock(file.map_err(CoxError::file("open", &path))?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(CoxError::File { what: "lock", path, source: error.into() }),
    }
}

/// Whether a supervisor holds the lock.
pub(crate) fn supervisor_lives(dir: &DataDir) -> Result<bool, CoxError> {
    Ok(dir.run().exists() && take_lock(dir)?.is_none())
}

/// Ends the supervisor, or, where it was killed, the daemons that it left. Says whether there was anything to end.
pub(crate) async fn end_supervisor(dir: &DataDir) -> Result<bool, CoxError> {
    let state = State::load(dir);
    if supervisor_lives(dir)? {
        signal(state.supervisor, Signal::SIGTERM)?;
        let path = dir.lock();
        // The kernel wakes us when the supervisor lets go of its lock.
        let wait = move || {
            let file = OpenOptions::new().write(true).open(&path)?;
            Flock::lock(file, FlockArg::LockExclusive).map(drop).map_err(|(_, error)| error.into())
        };
        let waited =
            tokio::task::spawn_blocking(wait).await.map_err(|_| CoxError::Failed("wait".to_owned()))?;
        waited.map_err(CoxError::system("wait for the supervisor"))?;
        return Ok(true);
    }
    end_daemons(&state).await
}

/// Ends daemons that have no supervisor any more.
pub(crate) async fn end_daemons(state: &State) -> Result<bool, CoxError> {
    let mut any = false;
    for daemon in state.daemons.iter().rev() {
        let Some(pid) = daemon.pid.filter(|pid| is_daemon(*pid, &daemon.name)) else { continue };
        any = true;
        signal(pid, Signal::SIGTERM)?;
        if !gone_within(pid, GRACE).await {
            signal(pid, Signal::SIGKILL)?;
            gone_within(pid, GRACE).await;
        }
    }
    Ok(any)
}

/// Whether process `pid` still is that daemon, and not another process that was given its number.
fn is_daemon(pid: i32, name: &str) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    // A binary that was replaced meanwhile reads as `.../scheduler (deleted)`.
    let file = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    file.trim_end_matches(" (deleted)") == name
}

/// Waits until a process that is not our child has ended. The kernel tells only parents, so this has to look; it
/// is needed only after the supervisor was killed.
async fn gone_within(pid: i32, limit: Duration) -> bool {
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let gone = async {
        while kill(Pid::from_raw(pid), None).is_ok() {
            look.tick().await;
        }
    };
    tokio::time::timeout(limit, gone).await.is_ok()
}

fn signal(pid: i32, signal: Signal) -> Result<(), CoxError> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(CoxError::System { what: "signal a daemon", source: error.into() }),
    }
}

/// The log of a daemon, to append to; one that has grown large is set aside first.
pub(crate) fn open_log(dir: &DataDir, daemon: &str) -> Result<File, CoxError> {
    let path = dir.log(daemon);
    if std::fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT) {
        std::fs::rename(&path, path.with_extension("log.1")).map_err(CoxError::file("set aside", &path))?;
    }
    OpenOptions::new().create(true).append(true).open(&path).map_err(CoxError::file("open", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_dir() -> (tempfile::TempDir, DataDir) {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = DataDir::new(temporary.path());
        std::fs::create_dir_all(dir.run()).expect("a run directory");
        (temporary, dir)
    }

    #[test]
    fn there_is_one_supervisor_at_a_time() {
        let (_temporary, dir) = data_dir();
        let held = take_lock(&dir).expect("a lock file");
        assert!(held.is_some());
        assert!(supervisor_lives(&dir).expect("an answer"));
        drop(held);
        assert!(!supervisor_lives(&dir).expect("an answer"));
    }

    #[test]
    fn the_state_is_read_back_and_a_broken_one_counts_as_none() {
        let (_temporary, dir) = data_dir();
        let daemon = DaemonState { name: "kubelet".to_owned(), pid: Some(7), restarts: 2, last_exit: None };
        let state = State { supervisor: 5, node: "n".to_owned(), daemons: vec![daemon] };
        state.save(&dir).expect("a state is written");
        assert_eq!(State::load(&dir).daemons[0].restarts, 2);
        std::fs::write(dir.state(), "{").expect("a file is written");
        assert!(State::load(&dir).daemons.is_empty());
    }

    #[tokio::test]
    async fn a_process_that_is_no_daemon_of_ours_is_left_alone() {
        let daemon = DaemonState {
            name: "kubelet".to_owned(),
            pid: Some(std::process::id() as i32),
            restarts: 0,
            last_exit: None,
        };
        let state = State { daemons: vec![daemon], ..State::default() };
        assert!(!end_daemons(&state).await.expect("nothing to signal"));
    }
}
