//! Processes with somebody at the other end: exec and attach.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::exec::{CreateExecOptions, ResizeExecOptions};
use bollard::query_parameters::{EventsOptionsBuilder, ResizeContainerTTYOptionsBuilder};
use futures_util::TryStreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::hijack::{hijack, outputs};
use super::{DockerRuntime, failed};
use crate::runtime::{Answer, Control, Input, Process, RuntimeError, StreamOptions, TerminalSize};

/// The engine takes a sequence of keys out of what is typed, to detach; Kubernetes has no such thing, so it is one
/// that nobody types. It cannot be switched off.
const DETACH_KEYS: &str = "ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^";

/// How long after the end of its output the engine may take to know that a process has ended.
const END: Duration = Duration::from_secs(30);

impl DockerRuntime {
    pub(super) async fn start_process(
        &self,
        id: &str,
        command: &[String],
        options: StreamOptions,
    ) -> Result<Process, RuntimeError> {
        let docker = self.docker().await?;
        let create = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdin: Some(options.stdin),
            // Both, wanted or not: the end of its output is how the end of a process is seen.
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(options.tty),
            detach_keys: Some(DETACH_KEYS.to_owned()),
            ..CreateExecOptions::default()
        };
        let exec = docker.create_exec(id, create).await.map_err(failed)?.id;
        let body = serde_json::json!({ "Detach": false, "Tty": options.tty }).to_string();
        let path = format!("/exec/{exec}/start");
        let (read, write) = hijack(&self.config.endpoint, &path, body).await?;
        Ok(Process {
            input: options.stdin.then(|| Box::new(write) as Input),
            output: outputs(read, options),
            control: Box::new(Exec { docker, container: id.to_owned(), exec }),
        })
    }

    pub(super) async fn join_process(
        &self,
        id: &str,
        options: StreamOptions,
    ) -> Result<Process, RuntimeError> {
        let docker = self.docker().await?;
        let inspect = docker.inspect_container(id, None).await.map_err(failed)?;
        // Whether its output is that of a terminal is the container's choice, not the client's.
        let tty = inspect.config.and_then(|config| config.tty).unwrap_or_default();
        let options = StreamOptions { tty, ..options };
        let path = format!(
            "/containers/{id}/attach?stream=1&logs=0&stdin={}&stdout=1&stderr=1&detachKeys={DETACH_KEYS}",
            u8::from(options.stdin)
        );
        let path = path.replace('^', "%5E");
        let (read, write) = hijack(&self.config.endpoint, &path, String::new()).await?;
        Ok(Process {
            input: options.stdin.then(|| Box::new(write) as Input),
            output: outputs(read, options),
            control: Box::new(Attached { docker, container: id.to_owned() }),
        })
    }
}

/// A command of ours in a container.
struct Exec {
    docker: Docker,
    container: String,
    exec: String,
}

impl Exec {
    /// The engine tells the end of the output and the end of the process by different ways, which may overtake each
    /// other by moments. A process that has not ended yet is heard of: from a moment ago on, so that an end between
    /// the question and the subscription is told, too.
    async fn ended(&self) -> Result<i32, RuntimeError> {
        if let Some(code) = self.code().await? {
            return Ok(code);
        }
        let filters: HashMap<&str, Vec<String>> = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("container", vec![self.container.clone()]),
            ("event", vec!["exec_die".to_owned()]),
        ]);
        let since = (jiff::Timestamp::now().as_second() - 1).to_string();
        let query = EventsOptionsBuilder::default().filters(&filters).since(&since).build();
        let mut events = std::pin::pin!(self.docker.events(Some(query)));
        while let Some(event) = events.try_next().await.map_err(failed)? {
            let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
            if attributes.get("execID") == Some(&self.exec)
                && let Some(code) = self.code().await?
            {
                return Ok(code);
            }
        }
        Err(RuntimeError::Down("its events ended".to_owned()))
    }

    /// What it returned, if it has ended.
    async fn code(&self) -> Result<Option<i32>, RuntimeError> {
        let inspect = self.docker.inspect_exec(&self.exec).await.map_err(failed)?;
        if inspect.running == Some(true) {
            return Ok(None);
        }
        let code = inspect.exit_code.and_then(|code| i32::try_from(code).ok());
        let none = || RuntimeError::Failed("the command ended without an exit code".to_owned());
        code.map(Some).ok_or_else(none)
    }
}

impl Control for Exec {
    fn resize(&self, size: TerminalSize) -> Answer<'_, ()> {
        Box::pin(async move {
            let options = ResizeExecOptions { height: size.height, width: size.width };
            self.docker.resize_exec(&self.exec, options).await.map_err(failed)
        })
    }

    fn exit_code(&self) -> Answer<'_, Option<i32>> {
        Box::pin(async {
            match tokio::time::timeout(END, self.ended()).await {
                Ok(code) => code.map(Some),
                Err(_) => Err(RuntimeError::Failed("the command has no output and does not end".to_owned())),
            }
        })
    }

    /// The engine lets a command go on when nobody is connected with it any more; Kubernetes does not.
    fn abandon(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let inspect = self.docker.inspect_exec(&self.exec).await.map_err(failed)?;
            let pid = inspect.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
            if let Some(pid) = pid.filter(|_| inspect.running == Some(true)) {
                // Where that process is not one of the container's, its number has come to another one.
                let groups = tokio::fs::read_to_string(format!("/proc/{pid}/cgroup")).await;
                if groups.is_ok_and(|groups| groups.contains(&self.container)) {
                    let _gone_meanwhile = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            Ok(())
        })
    }
}

/// The first process of a container.
struct Attached {
    docker: Docker,
    container: String,
}

impl Control for Attached {
    fn resize(&self, size: TerminalSize) -> Answer<'_, ()> {
        Box::pin(async move {
            let options = ResizeContainerTTYOptionsBuilder::default()
                .w(i32::from(size.width))
                .h(i32::from(size.height))
                .build();
            self.docker.resize_container_tty(&self.container, options).await.map_err(failed)
        })
    }

    /// It is in the status of the pod.
    fn exit_code(&self) -> Answer<'_, Option<i32>> {
        Box::pin(async { Ok(None) })
    }

    /// It goes on.
    fn abandon(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
