//! What flows between a client and a process or a port of a pod.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Answer, RuntimeError};

/// What a client wants of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// To write to its standard input.
    pub stdin: bool,
    /// To read its standard output.
    pub stdout: bool,
    /// To read its standard error.
    pub stderr: bool,
    /// That it has a terminal.
    pub tty: bool,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// Something that a process printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// On standard output, or on its terminal.
    Stdout(Bytes),
    /// On standard error.
    Stderr(Bytes),
}

/// The standard input of a process. Shutting it down is its end.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// What a process prints, until it ends.
pub type Outputs = BoxStream<'static, Result<Output, RuntimeError>>;

/// A connection in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to a port of a pod.
pub type Port = Box<dyn Duplex>;

/// A process that somebody is connected with.
pub struct Process {
    /// Where it was asked for.
    pub input: Option<Input>,
    /// Nothing is lost: what is not read holds the process up.
    pub output: Outputs,
    /// What else can be done with it.
    pub control: Box<dyn Control>,
}

/// What can be done with a process beside reading and writing.
pub trait Control: Send + Sync {
    /// Its terminal has another size.
    fn resize(&self, size: TerminalSize) -> Answer<'_, ()>;
    /// Its exit code, once the output has ended; `None` where that is told elsewhere.
    fn exit_code(&self) -> Answer<'_, Option<i32>>;
    /// Whoever started it has gone away.
    fn abandon(&self) -> Answer<'_, ()>;
}
