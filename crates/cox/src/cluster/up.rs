//! `cox up`: starts the supervisor in a session of its own and shows what it says until the cluster is ready.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::cli::{Global, UpArgs};
use crate::cluster::DataDir;
use crate::error::CoxError;
use crate::output::Out;
use crate::supervisor::state::{self, Progress};

pub(crate) async fn up(global: &Global, args: &UpArgs, out: &mut Out) -> Result<(), CoxError> {
    let dir = DataDir::new(&global.data_dir);
    for needed in [dir.run(), dir.path().join("log")] {
        std::fs::create_dir_all(&needed).map_err(CoxError::file("make", &needed))?;
    }
    if state::supervisor_lives(&dir)? {
        out.message("the cluster is up already");
        return Ok(());
    }
    let program = std::env::current_exe().map_err(CoxError::system("find this program"))?;
    let log = state::open_log(&dir, "cox")?;
    let mut supervisor = Command::new(program)
        .args(supervise_arguments(global, args))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(CoxError::system("start the supervisor"))?;
    let stdout = supervisor.stdout.take().expect("standard output was asked to be a pipe");
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await.map_err(CoxError::system("hear the supervisor"))? {
        match serde_json::from_str(&line) {
            Ok(Progress::Step(text)) => out.message(&text),
            Ok(Progress::Ready) => {
                out.message(&format!("ready: export KUBECONFIG={}", dir.kubeconfig("admin").display()));
                return Ok(());
            }
            Ok(Progress::Failed(why)) => return Err(CoxError::Failed(why)),
            Err(_) => out.message(&line),
        }
    }
    Err(CoxError::Failed(format!("the supervisor ended; {} says why", dir.log("cox").display())))
}

/// The command line of the supervisor: that of `up`.
fn supervise_arguments(global: &Global, args: &UpArgs) -> Vec<String> {
    let mut line = vec!["supervise".to_owned(), format!("--data-dir={}", global.data_dir.display())];
    let mut flag = |name: &str, value: &str| line.push(format!("--{name}={value}"));
    flag("bind-address", &args.bind_address);
    flag("secure-port", &args.secure_port.to_string());
    flag("history-size", &args.history_size);
    flag("docker-endpoint", &args.docker_endpoint);
    flag("default-registry", &args.default_registry);
    flag("default-namespace", &args.default_namespace);
    for mirror in &args.registry_mirror {
        flag("registry-mirror", mirror);
    }
    let optional =
        [("node-name", &args.node_name), ("node-ip", &args.node_ip), ("pause-image", &args.pause_image)];
    for (name, value) in optional {
        if let Some(value) = value {
            flag(name, value);
        }
    }
    if let Some(file) = &args.registry_credentials {
        flag("registry-credentials", &file.display().to_string());
    }
    if args.control_plane_only {
        line.push("--control-plane-only".to_owned());
    }
    line
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_supervisor_is_told_all_that_up_was_told() {
        let asked = [
            "cox",
            "up",
            "--data-dir=/d",
            "--control-plane-only",
            "--bind-address=0.0.0.0",
            "--secure-port=1",
            "--history-size=2Gi",
            "--node-name=n",
            "--node-ip=10.0.0.1",
            "--docker-endpoint=unix:///x",
            "--registry-mirror=a=http://b",
            "--registry-mirror=c=http://d",
            "--default-registry=r",
            "--default-namespace=s",
            "--pause-image=p",
            "--registry-credentials=/f",
        ];
        let parse = |line: Vec<String>| Cli::try_parse_from(line).expect("a good command line");
        let up = parse(asked.map(str::to_owned).to_vec());
        let Command::Up(args) = &up.command else { panic!("up was asked for") };
        let mut line = vec!["cox".to_owned()];
        line.extend(supervise_arguments(&up.global, args));
        let supervise = parse(line);
        let Command::Supervise(told) = &supervise.command else { panic!("supervise was asked for") };
        assert_eq!(format!("{told:?}"), format!("{args:?}"));
        assert_eq!(supervise.global.data_dir, up.global.data_dir);
    }
}
