//! What flows: logs, events, the output of commands.

use std::collections::HashMap;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::{DockerRuntime, connect, failed, labels};
use crate::runtime::{ExecOutput, LogOptions, RuntimeError, RuntimeEvent};

/// The most that is kept of the output of a command.
const OUTPUT_LIMIT: usize = 10 * 1024;

impl DockerRuntime {
    pub(super) async fn run_in(
        &self,
        id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError> {
        let docker = self.docker().await?;
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let work = async {
            let exec = docker.create_exec(id, options).await.map_err(failed)?;
            let mut output = Vec::new();
            match docker.start_exec(&exec.id, None).await.map_err(failed)? {
                StartExecResults::Attached { output: mut chunks, .. } => {
                    while let Some(chunk) = chunks.next().await {
                        let bytes = chunk.map_err(failed)?.into_bytes();
                        let room = OUTPUT_LIMIT - output.len();
                        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    }
                }
                StartExecResults::Detached => {}
            }
            let inspect = docker.inspect_exec(&exec.id).await.map_err(failed)?;
            Ok(ExecOutput { exit_code: inspect.exit_code.unwrap_or(-1), output })
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(result) => result,
            Err(_) => {
                Err(RuntimeError::Failed(format!("command {command:?} timed out: context deadline exceeded")))
            }
        }
    }
}

pub(super) fn logs(
    endpoint: String,
    id: String,
    options: LogOptions,
) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
    let tail = options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let since = options.since.map_or(0, |time| i32::try_from(time.as_second()).unwrap_or(i32::MAX));
    let query = LogsOptionsBuilder::default()
        .follow(options.follow)
        .stdout(options.stdout)
        .stderr(options.stderr)
        .timestamps(options.timestamps)
        .since(since)
        .tail(&tail)
        .build();
    stream::once(async move { connect(&endpoint).await })
        .map_ok(move |docker| {
            docker
                .logs(&id, Some(query.clone()))
                .map(|chunk| chunk.map(|chunk| chunk.into_bytes()).map_err(failed))
        })
        .try_flatten()
        .boxed()
}

/// What changes a pod: the rest (exec, attach, resize) is noise.
const ACTIONS: [&str; 6] = ["create", "start", "die", "oom", "destroy", "rename"];

pub(super) fn events(
    endpoint: String,
    node: String,
) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
    let filters: HashMap<&str, Vec<String>> = HashMap::from([
        ("type", vec!["container".to_owned()]),
        ("label", vec![format!("{}={node}", labels::NODE)]),
        ("event", ACTIONS.map(str::to_owned).to_vec()),
    ]);
    // From before the subscription: what happens between it and the list that follows is told, too.
    let since = (jiff::Timestamp::now().as_second() - 1).to_string();
    let query = EventsOptionsBuilder::default().filters(&filters).since(&since).build();
    stream::once(async move { connect(&endpoint).await })
        .map_ok(move |docker| {
            let events =
                docker.events(Some(query.clone())).map_err(failed).try_filter_map(|message| async move {
                    let attributes = message.actor.and_then(|actor| actor.attributes).unwrap_or_default();
                    Ok(attributes
                        .get(labels::POD_UID)
                        .map(|uid| RuntimeEvent::PodChanged { uid: uid.clone() }))
                });
            stream::once(async { Ok(RuntimeEvent::Connected) }).chain(events)
        })
        .try_flatten()
        .boxed()
}
