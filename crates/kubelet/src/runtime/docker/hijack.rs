//! Connections of the engine that stop to be HTTP: the streams of a process, raw.
//!
//! bollard decodes such streams by looking at their first byte, which loses what a terminal prints with a byte of 0
//! to 2 in front; so these requests are sent by hand. Without a terminal the engine marks each piece of output with
//! a head of eight bytes: which stream, and how long.

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};

use super::TIMEOUT;
use crate::runtime::{Output, Outputs, RuntimeError, StreamOptions};

/// How much is read at once.
const PIECE: usize = 32 * 1024;

/// The most that is read of the engine's explanation of a refusal.
const MAX_REFUSAL: usize = 64 * 1024;

/// Both halves of a connection that is no longer HTTP.
pub(super) type Halves = (ReadHalf<TokioIo<Upgraded>>, WriteHalf<TokioIo<Upgraded>>);

/// Sends a request that turns its connection into a stream.
pub(super) async fn hijack(endpoint: &str, path: &str, body: String) -> Result<Halves, RuntimeError> {
    let opening = async {
        match endpoint.strip_prefix("unix://") {
            Some(socket) => upgrade(UnixStream::connect(socket).await.map_err(down)?, path, body).await,
            None => {
                let host = endpoint.trim_start_matches("tcp://").trim_start_matches("http://");
                let host = host.trim_end_matches('/');
                upgrade(TcpStream::connect(host).await.map_err(down)?, path, body).await
            }
        }
    };
    match tokio::time::timeout(TIMEOUT, opening).await {
        Ok(opened) => opened.map(|io| tokio::io::split(TokioIo::new(io))),
        Err(_) => Err(RuntimeError::Failed("the engine did not answer in time".to_owned())),
    }
}

async fn upgrade<S>(stream: S, path: &str, body: String) -> Result<Upgraded, RuntimeError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = Request::post(path)
        .header(header::HOST, "docker")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| RuntimeError::Failed(error.to_string()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(down)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(down)?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => hyper::upgrade::on(response).await.map_err(down),
            code => {
                let body = Limited::new(response.into_body(), MAX_REFUSAL).collect().await;
                let text = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                Err(refused(code, &text))
            }
        }
    };
    // The connection must be driven for the exchange to go on, and ends with it.
    let (answered, _ended) = tokio::join!(exchange, connection.with_upgrades());
    answered
}

fn down(error: impl std::error::Error + 'static) -> RuntimeError {
    RuntimeError::Down(component::ErrorChain(&error).to_string())
}

fn refused(code: StatusCode, body: &[u8]) -> RuntimeError {
    let told: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = told.as_ref().and_then(|value| value["message"].as_str());
    let message = message.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned);
    match code {
        StatusCode::NOT_FOUND => RuntimeError::NotFound(message),
        _ => RuntimeError::Failed(message),
    }
}

/// The output of a process as it comes, without what was not asked for.
pub(super) fn outputs<R>(read: R, options: StreamOptions) -> Outputs
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let demux = if options.tty { Demux::Raw } else { Demux::Head };
    let state = (read, BytesMut::new(), demux);
    Box::pin(stream::try_unfold(state, move |(mut read, mut buffer, mut demux)| async move {
        loop {
            while let Some(output) = demux.next(&mut buffer)? {
                let wanted = match &output {
                    Output::Stdout(_) => options.stdout,
                    Output::Stderr(_) => options.stderr,
                };
                if wanted {
                    return Ok(Some((output, (read, buffer, demux))));
                }
            }
            buffer.reserve(PIECE);
            match read.read_buf(&mut buffer).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => return Err(down(error)),
            }
        }
    }))
}

/// Where in the engine's stream we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demux {
    /// Everything is the terminal's.
    Raw,
    /// A head follows.
    Head,
    /// So many bytes of this stream follow.
    Rest(u8, usize),
}

impl Demux {
    /// Takes the next piece of output out of what has been read, if there is one.
    fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Output>, RuntimeError> {
        loop {
            match *self {
                Self::Raw => {
                    return Ok((!buffer.is_empty()).then(|| Output::Stdout(buffer.split().freeze())));
                }
                Self::Head => {
                    let Some(head) = buffer.first_chunk::<8>() else { return Ok(None) };
                    let [kind, _, _, _, length @ ..] = *head;
                    if kind > 3 {
                        let why = format!("the engine sent a stream of kind {kind}, which there is not");
                        return Err(RuntimeError::Failed(why));
                    }
                    buffer.advance(8);
                    *self = Self::Rest(kind, u32::from_be_bytes(length) as usize);
                }
                Self::Rest(_, 0) => *self = Self::Head,
                Self::Rest(kind, left) => {
                    let taken = buffer.len().min(left);
                    if taken == 0 {
                        return Ok(None);
                    }
                    let bytes = buffer.split_to(taken).freeze();
                    *self = Self::Rest(kind, left - taken);
                    return match kind {
                        2 => Ok(Some(Output::Stderr(bytes))),
                        // The engine itself has something to say.
                        3 => Err(RuntimeError::Failed(String::from_utf8_lossy(&bytes).into_owned())),
                        _ => Ok(Some(Output::Stdout(bytes))),
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    const BOTH: StreamOptions = StreamOptions { stdin: false, stdout: true, stderr: true, tty: false };

    fn frame(kind: u8, text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
        bytes.extend(text);
        bytes
    }

    async fn read(pieces: &[&[u8]], options: StreamOptions) -> Result<(Vec<u8>, Vec<u8>), RuntimeError> {
        let outputs: Vec<Output> =
            outputs(std::io::Cursor::new(pieces.concat()), options).try_collect().await?;
        let mut both = (Vec::new(), Vec::new());
        for output in outputs {
            match output {
                Output::Stdout(bytes) => both.0.extend_from_slice(&bytes),
                Output::Stderr(bytes) => both.1.extend_from_slice(&bytes),
            }
        }
        Ok(both)
    }

    #[tokio::test]
    async fn streams_are_told_apart_and_what_nobody_wants_is_left_out() {
        let (out, err) = (frame(1, b"one\x00\x01two"), frame(2, b"three"));
        let all = read(&[&out, &err, &frame(1, b""), &frame(1, b"four")], BOTH).await.expect("output");
        assert_eq!(all, (b"one\x00\x01twofour".to_vec(), b"three".to_vec()));
        let only = read(&[&out, &err], StreamOptions { stdout: false, ..BOTH }).await.expect("output");
        assert_eq!(only, (Vec::new(), b"three".to_vec()));
    }

    #[tokio::test]
    async fn a_terminal_may_print_whatever_it_likes() {
        let tty = StreamOptions { tty: true, ..BOTH };
        let all = read(&[&[0, 1, 2, 3], &[255; 40_000]], tty).await.expect("output");
        assert_eq!(all.0.len(), 40_004);
    }

    #[tokio::test]
    async fn what_the_engine_says_itself_is_an_error() {
        assert_eq!(
            read(&[&frame(3, b"no space")], BOTH).await,
            Err(RuntimeError::Failed("no space".to_owned()))
        );
        assert!(read(&[b"HTTP/1.1 500 whatever"], BOTH).await.is_err());
    }

    #[test]
    fn frames_may_be_cut_anywhere() {
        let whole = [frame(1, b"abc"), frame(2, b"defgh"), frame(1, b"i")].concat();
        for cut in 0..whole.len() {
            let (mut demux, mut buffer) = (Demux::Head, BytesMut::new());
            let mut text = Vec::new();
            for part in [&whole[..cut], &whole[cut..]] {
                buffer.extend_from_slice(part);
                while let Some(output) = demux.next(&mut buffer).expect("good") {
                    let (Output::Stdout(bytes) | Output::Stderr(bytes)) = output;
                    text.extend_from_slice(&bytes);
                }
            }
            assert_eq!(text, b"abcdefghi", "cut at {cut}");
        }
    }
}
