//! One daemon's life: start, wait, back off, start again; SIGTERM when the supervisor ends.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use component::{Backoff, ErrorChain, Shutdown};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::daemons::DaemonSpec;
use super::state::{DaemonState, State, open_log};
use crate::cluster::DataDir;

/// Between a death and the next start. Short at first: a daemon that was killed is needed.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// A daemon that has lived this long was well: the next delay is the first one again.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// How long a daemon may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);

/// The exit code for a configuration that cannot work: starting again cannot help soon.
const EXIT_CONFIG: i32 = 64;

/// The daemons of one supervisor.
#[derive(Clone)]
pub(super) struct Daemons {
    dir: DataDir,
    state: Arc<Mutex<State>>,
    shutdown: Shutdown,
}

impl Daemons {
    pub(super) fn new(dir: DataDir, state: Arc<Mutex<State>>, shutdown: Shutdown) -> Self {
        Self { dir, state, shutdown }
    }

    /// Starts a daemon and keeps it running until the supervisor ends.
    pub(super) fn start(&self, spec: DaemonSpec) {
        let daemon = DaemonState { name: spec.name.to_owned(), pid: None, restarts: 0, last_exit: None };
        self.state.lock().daemons.push(daemon);
        let this = self.clone();
        component::spawn(&self.shutdown, spec.name, async move { this.keep(spec).await });
    }

    async fn keep(self, spec: DaemonSpec) {
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        let mut rng = StdRng::from_os_rng();
        loop {
            let started = Instant::now();
            let ended = match self.spawn(&spec) {
                Ok(mut child) => {
                    self.record(spec.name, |daemon| daemon.pid = child.id().map(|id| id as i32));
                    info!(daemon = spec.name, pid = child.id(), "started");
                    tokio::select! {
                        ended = child.wait() => describe(&ended),
                        () = self.shutdown.triggered() => {
                            self.end(spec.name, &mut child).await;
                            return;
                        }
                    }
                }
                Err(why) => why,
            };
            if started.elapsed() >= WELL_AFTER {
                backoff.reset();
            }
            let delay =
                if ended == describe_code(EXIT_CONFIG) { LONGEST_DELAY } else { backoff.next(&mut rng) };
            warn!(daemon = spec.name, %ended, ?delay, log = %self.dir.log(spec.name).display(), "died, will start again");
            self.record(spec.name, |daemon| {
                daemon.pid = None;
                daemon.restarts += 1;
                daemon.last_exit = Some(ended);
            });
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.shutdown.triggered() => return,
            }
        }
    }

    fn spawn(&self, spec: &DaemonSpec) -> Result<Child, String> {
        let log = open_log(&self.dir, spec.name).map_err(|error| ErrorChain(&error).to_string())?;
        let log_too = log.try_clone().map_err(|error| error.to_string())?;
        Command::new(&spec.program)
            .args(&spec.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .spawn()
            .map_err(|error| format!("start {}: {error}", spec.program.display()))
    }

    async fn end(&self, name: &str, child: &mut Child) {
        if let Some(id) = child.id() {
            let _gone_already = kill(Pid::from_raw(id as i32), Signal::SIGTERM);
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                warn!(daemon = name, "does not end, killing it");
                let _gone_already = child.kill().await;
            }
        }
        self.record(name, |daemon| daemon.pid = None);
        info!(daemon = name, "ended");
    }

    fn record(&self, name: &str, change: impl FnOnce(&mut DaemonState)) {
        let mut state = self.state.lock();
        if let Some(daemon) = state.daemons.iter_mut().find(|daemon| daemon.name == name) {
            change(daemon);
        }
        if let Err(why) = state.save(&self.dir) {
            error!(error = %ErrorChain(&why), "the state is not on disk");
        }
    }
}

fn describe(ended: &std::io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

fn describe_code(code: i32) -> String {
    format!("exit status: {code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> DaemonSpec {
        DaemonSpec {
            name: "daemon",
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
        }
    }

    #[tokio::test]
    async fn a_daemon_that_dies_is_started_again_and_ends_when_it_is_told_to() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = DataDir::new(temporary.path());
        for folder in [dir.run(), temporary.path().join("log")] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        let (shutdown, state) = (Shutdown::new(), Arc::new(Mutex::new(State::default())));
        let marks = temporary.path().join("marks");
        nix::unistd::mkfifo(&marks, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let daemons = Daemons::new(dir, Arc::clone(&state), shutdown.clone());
        daemons.start(shell(&format!("echo started > {}", marks.display())));
        // Each start opens the pipe anew: the second reading proves the second start.
        for _ in 0..2 {
            assert_eq!(tokio::fs::read_to_string(&marks).await.expect("a mark"), "started\n");
        }
        shutdown.trigger();
        assert!(shutdown.drain(Duration::from_secs(10)).await);
        assert!(state.lock().daemons[0].restarts >= 1);
        assert_eq!(state.lock().daemons[0].last_exit.as_deref(), Some("exit status: 0"));
    }

    #[tokio::test]
    async fn what_cannot_be_started_says_so() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = DataDir::new(temporary.path());
        std::fs::create_dir_all(temporary.path().join("log")).expect("a folder");
        let daemons = Daemons::new(dir, Arc::default(), Shutdown::new());
        let spec = DaemonSpec { program: "/nowhere/daemon".into(), ..shell("") };
        let why = daemons.spawn(&spec).expect_err("there is no such program");
        assert!(why.starts_with("start /nowhere/daemon: "), "{why}");
    }
}
