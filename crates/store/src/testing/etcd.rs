//! A real etcd cluster for tests: processes of the test's own, on ports that are free, with data in its directory.
//!
//! Where no `etcd` is installed (Debian: `etcd-server`) there is none, and the test says that it was skipped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A running cluster. Its processes end with it.
pub struct EtcdCluster {
    members: Vec<Member>,
}

struct Member {
    endpoint: String,
    directory: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl EtcdCluster {
    /// Starts so many members. `more` are further arguments of each; with `--cert-file` among them clients speak TLS.
    /// None where etcd is not installed.
    pub fn start(directory: &Path, count: usize, more: &[&str]) -> Option<EtcdCluster> {
        if Command::new("etcd").arg("--version").output().is_err() {
            // Past what the test harness hides of tests that pass.
            let skipped = "SKIPPED: there is no etcd on this machine (Debian: apt-get install etcd-server)";
            let _ = writeln!(std::io::stderr(), "{skipped}");
            return None;
        }
        for attempt in 0..5 {
            let mut cluster = EtcdCluster::plan(&directory.join(attempt.to_string()), count, more);
            let started: Vec<_> = cluster.members.iter_mut().map(Member::spawn).collect();
            if started.into_iter().all(Started::wait) {
                return Some(cluster);
            }
            // Somebody else was given one of the ports meanwhile: once more with others.
        }
        panic!("etcd does not start");
    }

    fn plan(directory: &Path, count: usize, more: &[&str]) -> EtcdCluster {
        let scheme = if more.contains(&"--cert-file") { "https" } else { "http" };
        let free = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let listeners: Vec<_> = (0..count).map(|_| (free(), free())).collect();
        let address = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
        let peers: Vec<_> = listeners
            .iter()
            .enumerate()
            .map(|(number, (peer, _))| format!("m{number}=http://{}", address(peer)))
            .collect();
        let members = listeners.iter().enumerate().map(|(number, (peer, client))| {
            let (peer, client) = (format!("http://{}", address(peer)), address(client));
            let directory = directory.join(format!("m{number}"));
            let url = format!("{scheme}://{client}");
            let mut arguments: Vec<String> = [
                ("--name", format!("m{number}")),
                ("--data-dir", directory.display().to_string()),
                ("--listen-client-urls", url.clone()),
                ("--advertise-client-urls", url),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", peers.join(",")),
                ("--logger", "zap".to_owned()),
                ("--log-outputs", "stderr".to_owned()),
                // Shorter than usual: a new leader shall not take long. Long enough for a busy machine.
                ("--heartbeat-interval", "50".to_owned()),
                ("--election-timeout", "500".to_owned()),
            ]
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect();
            arguments.extend(more.iter().map(|&argument| argument.to_owned()));
            Member { endpoint: client, directory, arguments, child: None }
        });
        EtcdCluster { members: members.collect() }
    }

    /// The members' addresses, as `host:port`.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.endpoint.clone()).collect()
    }

    /// Ends a member with SIGKILL.
    pub fn kill(&mut self, at: usize) {
        self.members[at].end();
    }

    /// Stops a member where it is: it keeps its connections and says nothing, as behind a cut cable.
    pub fn pause(&self, at: usize) {
        self.members[at].signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self, at: usize) {
        self.members[at].signal(Signal::SIGCONT);
    }

    /// Starts a member again on its data, and waits until it serves.
    pub fn restart(&mut self, at: usize) {
        let started = self.members[at].spawn();
        assert!(started.wait(), "etcd does not start again");
    }
}

/// A process that has been started and may not serve yet.
struct Started(BufReader<std::process::ChildStderr>);

impl Started {
    /// Waits until it serves; false when it has ended instead.
    fn wait(mut self) -> bool {
        let mut line = String::new();
        loop {
            line.clear();
            match self.0.read_line(&mut line) {
                Ok(0) | Err(_) => return false,
                Ok(_) if line.contains("serving client traffic") => break,
                Ok(_) => {}
            }
        }
        // What it says from now on is read so that it is not held up, until it ends.
        std::thread::spawn(move || std::io::copy(&mut self.0, &mut std::io::sink()));
        true
    }
}

impl Member {
    fn spawn(&mut self) -> Started {
        std::fs::create_dir_all(&self.directory).expect("a directory");
        let mut child = Command::new("etcd")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcd starts");
        let stderr = child.stderr.take().expect("it was asked for");
        self.child = Some(child);
        Started(BufReader::new(stderr))
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        nix::sys::signal::kill(Pid::from_raw(child.id() as i32), signal).expect("it is there");
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
    }
}
