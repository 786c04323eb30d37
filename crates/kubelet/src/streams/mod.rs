//! Exec, attach and port-forward: between the apiserver's calls and the runtime.
//!
//! One task for each call owns both directions. Buffers are a few pieces: whoever does not read holds up whoever
//! writes. When one side goes away the other one is told: a command without its client is ended, a client without
//! its process gets the exit code.

use api::status::{Reason, Status};
use bytes::{Bytes, BytesMut};
use component::{ErrorChain, Shutdown, spawn};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use rpc::status::to_grpc;
use rpc::v1::container_input::Message as In;
use rpc::v1::container_output::Message as Out;
use rpc::v1::port_forward_request::Message as Sent;
use rpc::v1::{
    ContainerInput, ContainerOpen, ContainerOutput, PortForwardData, PortForwardOpen, PortForwardRequest,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use crate::pod::Pod;
use crate::runtime::{
    ContainerState, Control, Input, Output, Outputs, Port, Process, Runtime, RuntimeError, RuntimePod,
    SandboxState, StreamOptions, TerminalSize,
};

/// How many pieces wait for the network.
const QUEUE: usize = 4;

/// How much is read of a connection at once.
const PIECE: usize = 32 * 1024;

/// What is answered to exec and attach.
pub(crate) type ContainerOutputs = BoxStream<'static, Result<ContainerOutput, tonic::Status>>;

/// What is answered to port-forward.
pub(crate) type PortOutputs = BoxStream<'static, Result<PortForwardData, tonic::Status>>;

/// What is done with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// A command of the client's is run.
    Exec,
    /// Its first process is joined.
    Attach,
}

/// The first message of a call of exec or attach.
pub(crate) async fn first<S>(requests: &mut S) -> Result<ContainerOpen, Status>
where
    S: Stream<Item = Result<ContainerInput, tonic::Status>> + Unpin,
{
    match requests.next().await {
        Some(Ok(ContainerInput { message: Some(In::Open(open)) })) => Ok(open),
        _ => Err(Status::bad_request("the first message must say which container is meant")),
    }
}

/// The first message of a call of port-forward.
pub(crate) async fn first_of_port<S>(requests: &mut S) -> Result<PortForwardOpen, Status>
where
    S: Stream<Item = Result<PortForwardRequest, tonic::Status>> + Unpin,
{
    match requests.next().await {
        Some(Ok(PortForwardRequest { message: Some(Sent::Open(open)) })) => Ok(open),
        _ => Err(Status::bad_request("the first message must say which port is meant")),
    }
}

/// Starts or joins a process, and answers with what it prints.
pub(crate) async fn open<S>(
    runtime: &dyn Runtime,
    pod: &Pod,
    verb: Verb,
    open: ContainerOpen,
    requests: S,
    shutdown: &Shutdown,
) -> Result<ContainerOutputs, Status>
where
    S: Stream<Item = Result<ContainerInput, tonic::Status>> + Send + Unpin + 'static,
{
    let found = runtime.pod(&pod.metadata.uid).await.map_err(Status::internal)?;
    let id = running(pod, &found, &open.container)?;
    let ContainerOpen { command, stdin, stdout, stderr, tty, .. } = open;
    let options = StreamOptions { stdin, stdout, stderr: stderr && !tty, tty };
    let opened = match verb {
        Verb::Exec if command.is_empty() => {
            return Err(Status::bad_request("you must specify at least one command for the container"));
        }
        Verb::Exec => runtime.open_exec(&id, &command, options).await,
        Verb::Attach => runtime.attach(&id, options).await,
    };
    let process = opened.map_err(Status::internal)?;
    let (answers, outputs) = mpsc::channel(QUEUE);
    let stopping = shutdown.clone();
    spawn(shutdown, "container-stream", async move {
        serve(process, requests, answers, &stopping).await;
    });
    Ok(ReceiverStream::new(outputs).boxed())
}

/// The id of the container, if it runs.
fn running(pod: &Pod, found: &RuntimePod, wanted: &str) -> Result<String, Status> {
    let name = match (wanted, pod.spec.containers.as_slice()) {
        ("", [only]) => only.name.as_str(),
        ("", _) => return Err(Status::bad_request("a container name must be specified")),
        (name, _) => name,
    };
    let record = found.latest(name).filter(|record| record.state == ContainerState::Running);
    record
        .map(|record| record.id.clone())
        .ok_or_else(|| Status::failure(Reason::InternalError, format!("container not found (\"{name}\")")))
}

/// How a process and its client parted.
enum End {
    /// The process has no more to say.
    Output,
    /// The runtime failed.
    Failed(RuntimeError),
    /// The client is gone, or the kubelet stops.
    Client,
}

async fn serve<S>(
    process: Process,
    requests: S,
    answers: mpsc::Sender<Result<ContainerOutput, tonic::Status>>,
    stopping: &Shutdown,
) where
    S: Stream<Item = Result<ContainerInput, tonic::Status>> + Send + Unpin,
{
    let Process { input, output, control } = process;
    let end = tokio::select! {
        end = print(output, &answers) => end,
        () = feed(requests, input, &*control) => End::Client,
        () = answers.closed() => End::Client,
        () = stopping.triggered() => End::Client,
    };
    let last = match end {
        End::Output => control.exit_code().await,
        End::Failed(error) => Err(error),
        End::Client => {
            if let Err(error) = control.abandon().await {
                debug!(error = %ErrorChain(&error), "end a command whose client is gone");
            }
            return;
        }
    };
    let last = match last {
        Ok(None) => return,
        Ok(Some(code)) => Ok(ContainerOutput { message: Some(Out::ExitCode(code)) }),
        Err(error) => Err(to_grpc(Status::internal(error))),
    };
    // Who left meanwhile does not hear it.
    let _ = answers.send(last).await;
}

/// Passes on what the process prints.
async fn print(mut output: Outputs, answers: &mpsc::Sender<Result<ContainerOutput, tonic::Status>>) -> End {
    while let Some(piece) = output.next().await {
        let message = match piece {
            Ok(Output::Stdout(bytes)) => Out::Stdout(bytes),
            Ok(Output::Stderr(bytes)) => Out::Stderr(bytes),
            Err(error) => return End::Failed(error),
        };
        if answers.send(Ok(ContainerOutput { message: Some(message) })).await.is_err() {
            return End::Client;
        }
    }
    End::Output
}

/// Passes on what the client sends; returns when it is gone, and never when it has no more to say.
async fn feed<S>(mut requests: S, mut input: Option<Input>, control: &dyn Control)
where
    S: Stream<Item = Result<ContainerInput, tonic::Status>> + Unpin,
{
    while let Some(request) = requests.next().await {
        let Ok(ContainerInput { message: Some(message) }) = request else { return };
        match message {
            In::Stdin(bytes) => {
                // A process may close its standard input and go on.
                if let Some(open) = &mut input
                    && write(open, &bytes).await.is_err()
                {
                    input = None;
                }
            }
            In::Resize(size) => {
                let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
                let size = TerminalSize { width: side(size.width), height: side(size.height) };
                if let Err(error) = control.resize(size).await {
                    debug!(error = %ErrorChain(&error), "resize a terminal");
                }
            }
            In::Open(_) => return,
        }
    }
    if let Some(mut open) = input {
        let _closed_already = open.shutdown().await;
    }
    std::future::pending::<()>().await;
}

async fn write(input: &mut Input, bytes: &Bytes) -> std::io::Result<()> {
    input.write_all(bytes).await?;
    input.flush().await
}

/// Connects to a port of a pod, and answers with what comes from it.
pub(crate) async fn forward<S>(
    runtime: &dyn Runtime,
    pod: &Pod,
    port: u32,
    requests: S,
    shutdown: &Shutdown,
) -> Result<PortOutputs, Status>
where
    S: Stream<Item = Result<PortForwardRequest, tonic::Status>> + Send + Unpin + 'static,
{
    let port = u16::try_from(port).ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| Status::bad_request("a port is a number from 1 to 65535"))?;
    let found = runtime.pod(&pod.metadata.uid).await.map_err(Status::internal)?;
    let sandbox = found.sandboxes.iter().find(|sandbox| sandbox.state == SandboxState::Ready);
    let sandbox = sandbox.ok_or_else(|| {
        Status::failure(Reason::InternalError, format!("pod \"{}\" is not running", pod.metadata.name))
    })?;
    let connection = runtime.connect_port(&sandbox.id, port).await.map_err(Status::internal)?;
    let (answers, outputs) = mpsc::channel(QUEUE);
    let stopping = shutdown.clone();
    spawn(shutdown, "port-forward", async move {
        let (read, write) = tokio::io::split(connection);
        tokio::select! {
            () = receive(read, &answers) => {}
            () = send(requests, write) => {}
            () = answers.closed() => {}
            () = stopping.triggered() => {}
        }
    });
    Ok(ReceiverStream::new(outputs).boxed())
}

/// Passes on what comes from the port; returns when nothing more comes.
async fn receive(mut read: ReadHalf<Port>, answers: &mpsc::Sender<Result<PortForwardData, tonic::Status>>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        match read.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let data = buffer.split().freeze();
                if answers.send(Ok(PortForwardData { data })).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Passes on what goes to the port; returns when the client is gone, and never when it has no more to say.
async fn send<S>(mut requests: S, mut write: WriteHalf<Port>)
where
    S: Stream<Item = Result<PortForwardRequest, tonic::Status>> + Unpin,
{
    while let Some(request) = requests.next().await {
        let Ok(PortForwardRequest { message: Some(Sent::Data(data)) }) = request else { return };
        if write.write_all(&data).await.is_err() {
            // What it said last is still to be read.
            break;
        }
    }
    let _closed_already = write.shutdown().await;
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests;
