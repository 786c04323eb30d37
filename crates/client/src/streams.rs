//! Processes and ports of pods: what goes there and what comes from there, as streams.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use rpc::v1::container_input::Message as In;
use rpc::v1::container_output::Message as Out;
use rpc::v1::port_forward_request::Message as Sent;
use rpc::v1::{
    ContainerInput, ContainerOpen, ContainerOutput, PortForwardOpen, PortForwardRequest, TerminalSize,
};

use crate::{Client, ClientError};

/// What a process is told. The end of the stream is the end of its standard input.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessInput {
    /// For its standard input.
    Stdin(Bytes),
    /// Its terminal has another size.
    Resize(TerminalSize),
}

/// What a process tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessOutput {
    /// On standard output, or on its terminal.
    Stdout(Bytes),
    /// On standard error.
    Stderr(Bytes),
    /// It has ended.
    Exit(i32),
}

fn requests(
    open: ContainerOpen,
    input: impl Stream<Item = ProcessInput> + Send + 'static,
) -> impl Stream<Item = ContainerInput> + Send + 'static {
    let rest = input.map(|input| match input {
        ProcessInput::Stdin(data) => In::Stdin(data),
        ProcessInput::Resize(size) => In::Resize(size),
    });
    stream::iter([In::Open(open)]).chain(rest).map(|message| ContainerInput { message: Some(message) })
}

fn told(answer: Result<ContainerOutput, tonic::Status>) -> Result<ProcessOutput, ClientError> {
    match answer?.message {
        Some(Out::Stdout(data)) => Ok(ProcessOutput::Stdout(data)),
        Some(Out::Stderr(data)) => Ok(ProcessOutput::Stderr(data)),
        Some(Out::ExitCode(code)) => Ok(ProcessOutput::Exit(code)),
        None => Err(ClientError::Protocol("an output says something")),
    }
}

impl Client {
    /// Runs a command in a container. It ends when the answers are dropped.
    pub async fn exec(
        &self,
        open: ContainerOpen,
        input: impl Stream<Item = ProcessInput> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<ProcessOutput, ClientError>>, ClientError> {
        Ok(self.node().exec(requests(open, input)).await?.into_inner().map(told).boxed())
    }

    /// Joins the first process of a container. Its exit code is in the pod's status.
    pub async fn attach(
        &self,
        open: ContainerOpen,
        input: impl Stream<Item = ProcessInput> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<ProcessOutput, ClientError>>, ClientError> {
        Ok(self.node().attach(requests(open, input)).await?.into_inner().map(told).boxed())
    }

    /// Connects to a port of a pod.
    pub async fn port_forward(
        &self,
        open: PortForwardOpen,
        input: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<Bytes, ClientError>>, ClientError> {
        let messages = stream::iter([Sent::Open(open)]).chain(input.map(Sent::Data));
        let requests = messages.map(|message| PortForwardRequest { message: Some(message) });
        let answers = self.node().port_forward(requests).await?.into_inner();
        Ok(answers.map(|answer| Ok(answer?.data)).boxed())
    }
}
