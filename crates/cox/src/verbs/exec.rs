//! `cox exec` and `cox attach`: a process of a container with this command's streams, and its terminal.

use std::io::Read as _;
use std::process::Stdio;

use bytes::Bytes;
use client::{ContainerOpen, ProcessInput, ProcessOutput, TerminalSize};
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::Session;
use super::logs::pod;
use crate::cli::{AttachArgs, ExecArgs, Global, ProcessArgs};
use crate::error::CoxError;
use crate::output::Out;

/// How much of standard input is read at once.
const PIECE: usize = 16 * 1024;

pub(crate) async fn exec(global: &Global, args: &ExecArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let open = open(&session, &args.process, args.command.clone()).await?;
    let terminal = Terminal::take(open.tty && open.stdin).await?;
    let run = async { show(session.client.exec(open.clone(), input(&open)?).await?, out).await };
    let ended = run.await;
    terminal.give_back().await;
    match ended? {
        Some(0) => Ok(()),
        Some(code) => Err(CoxError::Command(u8::try_from(code).unwrap_or(1))),
        None => Err(CoxError::Failed("the command ended without an exit code".to_owned())),
    }
}

pub(crate) async fn attach(global: &Global, args: &AttachArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let open = open(&session, &args.process, Vec::new()).await?;
    let terminal = Terminal::take(open.tty && open.stdin).await?;
    let run = async { show(session.client.attach(open.clone(), input(&open)?).await?, out).await };
    let ended = run.await;
    terminal.give_back().await;
    ended.map(drop)
}

async fn open(
    session: &Session,
    args: &ProcessArgs,
    command: Vec<String>,
) -> Result<ContainerOpen, CoxError> {
    Ok(ContainerOpen {
        namespace: session.namespace.clone(),
        pod: pod(session, &args.pod).await?,
        container: args.container.clone(),
        command,
        stdin: args.stdin,
        stdout: true,
        stderr: !args.tty,
        tty: args.tty,
        ..ContainerOpen::default()
    })
}

/// Prints what the process prints; gives its exit code.
async fn show(
    mut answers: impl Stream<Item = Result<ProcessOutput, client::ClientError>> + Unpin,
    out: &mut Out,
) -> Result<Option<i32>, CoxError> {
    while let Some(answer) = answers.next().await {
        match answer? {
            ProcessOutput::Stdout(bytes) => out.bytes(&bytes),
            ProcessOutput::Stderr(bytes) => out.error_bytes(&bytes),
            ProcessOutput::Exit(code) => return Ok(Some(code)),
        }
    }
    Ok(None)
}

/// What the process is told: what is typed, and the sizes of the terminal.
fn input(open: &ContainerOpen) -> Result<BoxStream<'static, ProcessInput>, CoxError> {
    let typed = if open.stdin { typed().boxed() } else { stream::empty().boxed() };
    if !open.tty {
        return Ok(typed);
    }
    let changes = signal(SignalKind::window_change()).map_err(CoxError::system("listen for signals"))?;
    let first = stream::once(size());
    let later = stream::unfold(changes, |mut changes| async move {
        changes.recv().await?;
        Some((size().await, changes))
    });
    let sizes = first.chain(later).filter_map(|size| async move { size.map(ProcessInput::Resize) });
    // Sizes have no end of their own: the end of what is typed is the end, where something is.
    Ok(if open.stdin { until_first_ends(typed, sizes.boxed()) } else { sizes.boxed() })
}

/// Both streams, until the first has ended.
fn until_first_ends(
    first: BoxStream<'static, ProcessInput>,
    second: BoxStream<'static, ProcessInput>,
) -> BoxStream<'static, ProcessInput> {
    let first = first.map(Some).chain(stream::iter([None]));
    let both = stream::select(first, second.map(Some));
    both.take_while(|input| std::future::ready(input.is_some())).filter_map(std::future::ready).boxed()
}

/// Standard input, in pieces. A thread of its own waits for it: nobody waits for the thread.
fn typed() -> impl Stream<Item = ProcessInput> + Send + 'static {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while let Ok(count) = std::io::stdin().read(&mut buffer)
            && count > 0
        {
            if sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                return;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        Some((ProcessInput::Stdin(receiver.recv().await?), receiver))
    })
}

/// The size of the terminal, where standard input is one.
async fn size() -> Option<TerminalSize> {
    let text = stty(&["size"]).await?;
    let mut numbers = text.split_whitespace().map(str::parse::<u32>);
    let (height, width) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(TerminalSize { width, height })
}

/// What `stty` says of standard input; nothing where that is no terminal.
async fn stty(arguments: &[&str]) -> Option<String> {
    let command = Command::new("stty").args(arguments).stdin(Stdio::inherit()).stderr(Stdio::null()).output();
    let output = command.await.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// The terminal of this command, whose keys go to the process as they are.
struct Terminal {
    /// How it was before.
    before: Option<String>,
}

impl Terminal {
    async fn take(wanted: bool) -> Result<Self, CoxError> {
        let before = if wanted { stty(&["-g"]).await } else { None };
        if before.is_some() && stty(&["raw", "-echo"]).await.is_none() {
            return Err(CoxError::Failed("the terminal cannot be set to raw".to_owned()));
        }
        Ok(Self { before })
    }

    async fn give_back(self) {
        if let Some(before) = self.before {
            let _nothing_to_be_done = stty(&[before.trim()]).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_what_is_typed_is_the_end() {
        let size = ProcessInput::Resize(TerminalSize { width: 1, height: 2 });
        let key = ProcessInput::Stdin("k".into());
        let sizes = stream::iter([size.clone()]).chain(stream::pending());
        let all: Vec<_> =
            until_first_ends(stream::iter([key.clone(), key.clone()]).boxed(), sizes.boxed()).collect().await;
        assert_eq!(all.iter().filter(|input| **input == key).count(), 2);
        assert!(all.iter().filter(|input| **input == size).count() <= 1);
    }
}
