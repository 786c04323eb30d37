//! A client and a process of a container: exec and attach, on a WebSocket or on SPDY.
//!
//! Two loops in one task: [`Speaker`] passes on what the process prints and ends with its exit code, a loop for each
//! transport passes on what the client types. Whichever ends first ends the other.

use std::time::Duration;

use api::status::Status;
use bytes::Bytes;
use component::{ErrorChain, Shutdown};
use futures_util::StreamExt as _;
use rpc::v1::container_input::Message as In;
use rpc::v1::container_output::Message as Out;
use rpc::v1::{ContainerInput, ContainerOutput};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::channels::{Channels, ERROR, STDERR, STDOUT, Said, Sizes, Version};
use super::link::{self, Frames, KeepAlive, LinkError, Messages, Outlet};
use super::spdy::{self, Encoder, Frame, ResetCode};
use super::{Answers, ProcessCall, Verb};

/// How long a client may take to make its streams.
const STREAMS_WITHIN: Duration = Duration::from_secs(30);

/// What the client wants of the process, and how it speaks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) verb: Verb,
    pub(super) version: Version,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl Wanted {
    /// How many streams a client of SPDY makes.
    fn streams(self) -> usize {
        let resize = self.tty && self.version.resize;
        1 + [self.stdin, self.stdout, self.stderr, resize].into_iter().filter(|wanted| *wanted).count()
    }
}

/// The streams of SPDY by what they are for; 0 is none.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    stdin: u32,
    stdout: u32,
    stderr: u32,
    error: u32,
    resize: u32,
}

/// How the client is spoken to.
enum Speaker<'a> {
    WebSocket { outlet: &'a Outlet, version: Version },
    Spdy { outlet: &'a Outlet, numbers: Numbers },
}

impl Speaker<'_> {
    /// On standard output or error.
    async fn print(&self, channel: u8, data: &[u8]) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(data.len() + 64);
        match self {
            Self::WebSocket { outlet, version } => {
                Channels::put(*version, &mut bytes, channel, data);
                outlet.send(&bytes).await
            }
            Self::Spdy { outlet, numbers } => {
                let stream = match channel {
                    STDOUT => numbers.stdout,
                    STDERR => numbers.stderr,
                    _ => numbers.error,
                };
                if stream == 0 {
                    return Ok(());
                }
                for data in data.chunks(spdy::MAX_DATA) {
                    spdy::put_data(&mut bytes, stream, data, false);
                }
                outlet.send(&bytes).await
            }
        }
    }

    /// How the process ended, and that nothing follows.
    async fn end(&self, outcome: &[u8]) -> std::io::Result<()> {
        if !outcome.is_empty() {
            self.print(ERROR, outcome).await?;
        }
        match self {
            Self::WebSocket { outlet, .. } => {
                outlet.close(1000, "").await?;
                outlet.shutdown().await
            }
            Self::Spdy { outlet, numbers } => {
                let Numbers { stdin, stdout, stderr, error, resize } = *numbers;
                let mut bytes = Vec::new();
                // The outcome comes last: who hears the end of the output first asks for it then.
                for stream in [stdout, stderr, stdin, resize, error] {
                    if stream != 0 {
                        spdy::put_data(&mut bytes, stream, b"", true);
                    }
                }
                spdy::put_go_away(&mut bytes, 0);
                outlet.send(&bytes).await?;
                outlet.shutdown().await
            }
        }
    }

    /// Passes on what the process prints, until it has ended and the client knows.
    async fn run(&self, wanted: Wanted, output: &mut Answers<ContainerOutput>) -> std::io::Result<()> {
        let outcome = loop {
            match output.next().await.transpose() {
                Ok(Some(ContainerOutput { message: Some(Out::Stdout(data)) })) => {
                    self.print(STDOUT, &data).await?;
                }
                Ok(Some(ContainerOutput { message: Some(Out::Stderr(data)) })) => {
                    self.print(STDERR, &data).await?;
                }
                Ok(Some(ContainerOutput { message: Some(Out::ExitCode(code)) })) => break Ok(code),
                Ok(Some(ContainerOutput { message: None })) => {}
                Ok(None) if wanted.verb == Verb::Attach => break Ok(0),
                Ok(None) => break Err(Status::internal("the kubelet gave no exit code")),
                Err(status) => break Err(rpc::status::from_grpc(&status)),
            }
        };
        self.end(&told(wanted.version, outcome)).await
    }
}

/// How the end of a process is told: a Status, or a text where the protocol is old.
fn told(version: Version, outcome: Result<i32, Status>) -> Vec<u8> {
    let status: Value = match outcome {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(status) => serde_json::to_value(status).unwrap_or_default(),
    };
    if version.status {
        return status.to_string().into_bytes();
    }
    match status["status"].as_str() {
        Some("Success") => Vec::new(),
        _ => status["message"].as_str().unwrap_or("it failed").as_bytes().to_vec(),
    }
}

/// What the client says goes to the kubelet; nothing after its standard input has ended, and nothing when the process
/// no longer listens.
struct Input {
    sender: Option<mpsc::Sender<ContainerInput>>,
    stdin: bool,
}

impl Input {
    async fn say(&mut self, said: Said) {
        let message = match said {
            Said::Stdin(_) | Said::StdinEnd if !self.stdin => return,
            Said::Stdin(data) => In::Stdin(data),
            Said::Resize(size) => In::Resize(size),
            Said::StdinEnd => {
                self.sender = None;
                return;
            }
        };
        let Some(sender) = &self.sender else { return };
        if sender.send(ContainerInput { message: Some(message) }).await.is_err() {
            self.sender = None;
        }
    }
}

/// Serves a client on a WebSocket until either side has ended.
pub(super) async fn on_websocket(
    mut messages: Messages,
    outlet: Outlet,
    call: ProcessCall,
    wanted: Wanted,
    shutdown: &Shutdown,
) {
    let ProcessCall { input, mut output } = call;
    let mut input = Input { sender: Some(input), stdin: wanted.stdin };
    let mut channels = Channels::new(wanted.version);
    let speaker = Speaker::WebSocket { outlet: &outlet, version: wanted.version };
    let speak = async {
        // That something comes tells clients that the stream stands.
        let first = if wanted.stdout {
            STDOUT
        } else if wanted.stderr {
            STDERR
        } else {
            ERROR
        };
        speaker.print(first, b"").await?;
        Ok(speaker.run(wanted, &mut output).await?)
    };
    let listen = async {
        while let Some(piece) = messages.next(&outlet).await? {
            if let Some(said) = channels.hear(piece.data, piece.last)? {
                input.say(said).await;
            }
        }
        Ok(())
    };
    match link::converse(&outlet, KeepAlive::WebSocket, speak, listen, shutdown).await {
        Ok(true) => messages.linger().await,
        Ok(false) => {}
        Err(error) => {
            debug!(error = %ErrorChain(&error), "a process's WebSocket");
            let _gone = outlet.close(1002, &error.to_string()).await;
        }
    }
}

/// Serves a client on SPDY until either side has ended.
pub(super) async fn on_spdy(
    mut frames: Frames,
    outlet: Outlet,
    call: ProcessCall,
    wanted: Wanted,
    shutdown: &Shutdown,
) {
    let ProcessCall { input, mut output } = call;
    let (complete, streams) = oneshot::channel();
    let mut listener = Listener {
        wanted,
        numbers: Numbers::default(),
        complete: Some(complete),
        encoder: Encoder::default(),
        sizes: Sizes::default(),
        input: Input { sender: Some(input), stdin: wanted.stdin },
    };
    let speak = async {
        let Ok(Ok(numbers)) = tokio::time::timeout(STREAMS_WITHIN, streams).await else {
            return Err(LinkError::Io(std::io::ErrorKind::TimedOut.into()));
        };
        let speaker = Speaker::Spdy { outlet: &outlet, numbers };
        speaker.run(wanted, &mut output).await.map_err(LinkError::from)
    };
    let listen = async {
        while let Some(frame) = frames.next(&outlet).await? {
            listener.hear(frame, &outlet).await?;
        }
        Ok(())
    };
    match link::converse(&outlet, KeepAlive::Spdy, speak, listen, shutdown).await {
        Ok(true) => frames.linger().await,
        Ok(false) => {}
        Err(error) => debug!(error = %ErrorChain(&error), "a process's SPDY connection"),
    }
}

/// What a client on SPDY says.
struct Listener {
    wanted: Wanted,
    numbers: Numbers,
    /// Told when the client has made all of its streams.
    complete: Option<oneshot::Sender<Numbers>>,
    encoder: Encoder,
    sizes: Sizes,
    input: Input,
}

impl Listener {
    async fn hear(&mut self, frame: Frame, outlet: &Outlet) -> Result<(), LinkError> {
        match frame {
            Frame::SynStream { stream, headers, fin } => {
                let answer = self.open(stream, headers.get("streamtype"));
                outlet.send(&answer).await?;
                if fin {
                    self.data(stream, Bytes::new(), true).await?;
                }
            }
            Frame::Data { stream, data, fin } => self.data(stream, data, fin).await?,
            // Who resets its standard input has no more to say; the others it does not want to read any more.
            Frame::Reset { stream } if stream == self.numbers.stdin => self.input.say(Said::StdinEnd).await,
            Frame::Ping(number) if number % 2 == 1 => {
                let mut answer = Vec::new();
                spdy::put_ping(&mut answer, number);
                outlet.send(&answer).await?;
            }
            Frame::Reset { .. } | Frame::Ping(_) | Frame::GoAway | Frame::Other => {}
        }
        Ok(())
    }

    /// Takes or refuses a new stream.
    fn open(&mut self, stream: u32, kind: &str) -> Vec<u8> {
        let mut answer = Vec::new();
        let Wanted { stdin, stdout, stderr, tty, version, .. } = self.wanted;
        let numbers = &mut self.numbers;
        let place = match kind {
            "error" => Some(&mut numbers.error),
            "stdin" if stdin => Some(&mut numbers.stdin),
            "stdout" if stdout => Some(&mut numbers.stdout),
            "stderr" if stderr => Some(&mut numbers.stderr),
            "resize" if tty && version.resize => Some(&mut numbers.resize),
            _ => None,
        };
        match place {
            Some(number) if *number == 0 => *number = stream,
            _ => {
                spdy::put_reset(&mut answer, stream, ResetCode::RefusedStream);
                return answer;
            }
        }
        self.encoder.syn_reply(&mut answer, stream);
        let Numbers { stdin, stdout, stderr, error, resize } = *numbers;
        let made = [stdin, stdout, stderr, error, resize].into_iter().filter(|number| *number != 0).count();
        if made == self.wanted.streams()
            && let Some(complete) = self.complete.take()
        {
            // Nobody waits any more only where the stream is at its end.
            let _ = complete.send(*numbers);
        }
        answer
    }

    async fn data(&mut self, stream: u32, data: Bytes, fin: bool) -> Result<(), LinkError> {
        if stream == self.numbers.stdin {
            if !data.is_empty() {
                self.input.say(Said::Stdin(data)).await;
            }
            if fin {
                self.input.say(Said::StdinEnd).await;
            }
        } else if stream == self.numbers.resize
            && let Some(size) = self.sizes.hear(&data)?
        {
            self.input.say(Said::Resize(size)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_told_as_kubectl_reads_it() {
        let new = Version::of_spdy("v4.channel.k8s.io").expect("a version");
        let old = Version::of_spdy("v2.channel.k8s.io").expect("a version");
        let status = |outcome| -> Value { serde_json::from_slice(&told(new, outcome)).expect("JSON") };
        assert_eq!(status(Ok(0))["status"], "Success");
        let failed = status(Ok(3));
        assert_eq!((&failed["status"], &failed["reason"]), (&json!("Failure"), &json!("NonZeroExitCode")));
        assert_eq!(failed["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
        let broken = status(Err(Status::internal("no engine")));
        assert_eq!((&broken["status"], &broken["code"]), (&json!("Failure"), &json!(500)));
        assert_eq!(told(old, Ok(0)), b"");
        assert_eq!(told(old, Ok(1)), b"command terminated with non-zero exit code: exit status 1");
    }
}
