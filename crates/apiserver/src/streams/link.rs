//! A connection that is no longer HTTP: frames are read from one half and written to the other.

use std::time::Duration;

use bytes::BytesMut;
use component::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::channels::MessageError;
use super::spdy::{self, SpdyError};
use super::websocket::{self, FrameError, Opcode};

/// How much is read at once.
const PIECE: usize = 32 * 1024;

/// How long the client may take to close a connection that has nothing more to tell.
const LINGER: Duration = Duration::from_secs(5);

/// How often a silent client is sent something: a client that is gone is found out by that.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Why a connection ends before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The socket.
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    /// The client sends what is no WebSocket.
    #[error("the client does not speak WebSocket")]
    Frame(#[from] FrameError),
    /// The client sends what is no SPDY.
    #[error("the client does not speak SPDY")]
    Spdy(#[from] SpdyError),
    /// The client sends what is no message.
    #[error("the client does not speak as agreed")]
    Message(#[from] MessageError),
}

/// Splits a connection.
pub(super) fn split<S>(stream: S) -> (Box<dyn AsyncRead + Send + Unpin>, Outlet)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(stream);
    (Box::new(read), Outlet::new(Box::new(write)))
}

/// Where frames are written: whole ones, whoever writes.
pub(super) struct Outlet {
    io: Mutex<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Everything is put into messages of a WebSocket.
    tunnel: bool,
}

impl Outlet {
    fn new(io: Box<dyn AsyncWrite + Send + Unpin>) -> Self {
        Self { io: Mutex::new(io), tunnel: false }
    }

    /// The same, where everything that is sent is put into messages of a WebSocket.
    pub(super) fn tunnel(self) -> Self {
        Self { tunnel: true, ..self }
    }

    /// Sends bytes. Waits as long as the client does not read. Must not be dropped in between, but at the end.
    pub(super) async fn send(&self, bytes: &[u8]) -> std::io::Result<()> {
        if !self.tunnel {
            return self.send_bare(bytes).await;
        }
        let mut message = Vec::with_capacity(bytes.len() + websocket::MAX_HEAD);
        websocket::put(&mut message, Opcode::Binary, bytes);
        self.send_bare(&message).await
    }

    /// Sends bytes that are not put into a message.
    pub(super) async fn send_bare(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut io = self.io.lock().await;
        io.write_all(bytes).await?;
        io.flush().await
    }

    /// Sends a frame of a WebSocket.
    async fn control(&self, opcode: Opcode, payload: &[u8]) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        websocket::put(&mut bytes, opcode, payload);
        self.send_bare(&bytes).await
    }

    /// Says goodbye as WebSockets do.
    pub(super) async fn close(&self, code: u16, why: &str) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        websocket::put_close(&mut bytes, code, why);
        self.send_bare(&bytes).await
    }

    /// Nothing more is sent.
    pub(super) async fn shutdown(&self) -> std::io::Result<()> {
        self.io.lock().await.shutdown().await
    }

    /// Sends pings until that fails.
    async fn keep_alive(&self, with: KeepAlive) -> LinkError {
        let mut number = 0_u32;
        loop {
            tokio::time::sleep(PING_EVERY).await;
            let sent = match with {
                KeepAlive::WebSocket => self.control(Opcode::Ping, b"").await,
                KeepAlive::Spdy => {
                    // Even, and never 0, which some clients take for none.
                    number = number.wrapping_add(2).max(2);
                    let mut bytes = Vec::new();
                    spdy::put_ping(&mut bytes, number);
                    self.send(&bytes).await
                }
            };
            if let Err(error) = sent {
                return error.into();
            }
        }
    }
}

/// Speaks and listens until either has ended, the client is gone or the server stops: whether all was said.
pub(super) async fn converse(
    outlet: &Outlet,
    with: KeepAlive,
    speak: impl Future<Output = Result<(), LinkError>>,
    listen: impl Future<Output = Result<(), LinkError>>,
    shutdown: &Shutdown,
) -> Result<bool, LinkError> {
    tokio::select! {
        spoken = speak => spoken.map(|()| true),
        heard = listen => heard.map(|()| false),
        error = outlet.keep_alive(with) => Err(error),
        () = shutdown.triggered() => Ok(false),
    }
}

/// What a silent client is asked with.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeepAlive {
    /// A ping of WebSocket.
    WebSocket,
    /// A ping of SPDY.
    Spdy,
}

/// Where the frames of a WebSocket are read from.
pub(super) struct Messages {
    io: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
    decoder: websocket::Decoder,
}

/// A piece of a message.
pub(super) struct MessagePiece {
    pub(super) data: bytes::Bytes,
    pub(super) last: bool,
}

impl Messages {
    pub(super) fn new(io: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        Self { io, buffer: BytesMut::new(), decoder: websocket::Decoder::default() }
    }

    /// The next piece of a message; nothing at the end. Pings are answered.
    pub(super) async fn next(&mut self, outlet: &Outlet) -> Result<Option<MessagePiece>, LinkError> {
        loop {
            while let Some(frame) = self.decoder.next(&mut self.buffer)? {
                match frame {
                    websocket::Frame::Piece { data, last, .. } => {
                        return Ok(Some(MessagePiece { data, last }));
                    }
                    websocket::Frame::Ping(payload) => outlet.control(Opcode::Pong, &payload).await?,
                    websocket::Frame::Pong => {}
                    websocket::Frame::Close => {
                        outlet.close(1000, "").await?;
                        return Ok(None);
                    }
                }
            }
            self.buffer.reserve(PIECE);
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads what is left, and forgets it.
    pub(super) async fn linger(&mut self) {
        linger(&mut self.io).await;
    }
}

/// Where the frames of SPDY are read from.
pub(super) struct Frames {
    from: From,
    buffer: BytesMut,
    decoder: spdy::Decoder,
}

/// What SPDY's frames travel on.
enum From {
    Bare(Box<dyn AsyncRead + Send + Unpin>),
    Tunnel(Messages),
}

impl Frames {
    /// On the bare connection.
    pub(super) fn bare(io: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        Self { from: From::Bare(io), buffer: BytesMut::new(), decoder: spdy::Decoder::default() }
    }

    /// Inside of a WebSocket.
    pub(super) fn tunnel(messages: Messages) -> Self {
        Self { from: From::Tunnel(messages), buffer: BytesMut::new(), decoder: spdy::Decoder::default() }
    }

    /// The next frame; nothing at the end.
    pub(super) async fn next(&mut self, outlet: &Outlet) -> Result<Option<spdy::Frame>, LinkError> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            match &mut self.from {
                From::Bare(io) => {
                    self.buffer.reserve(PIECE);
                    if io.read_buf(&mut self.buffer).await? == 0 {
                        return Ok(None);
                    }
                }
                From::Tunnel(messages) => match messages.next(outlet).await? {
                    Some(piece) => self.buffer.extend_from_slice(&piece.data),
                    None => return Ok(None),
                },
            }
        }
    }

    /// Reads what is left, and forgets it.
    pub(super) async fn linger(&mut self) {
        match &mut self.from {
            From::Bare(io) => linger(io).await,
            From::Tunnel(messages) => messages.linger().await,
        }
    }
}

/// A connection that is closed with something unread takes what was written last with it; so the client closes first,
/// if it does so soon.
async fn linger(io: &mut (dyn AsyncRead + Send + Unpin)) {
    let mut forgotten = vec![0; 4096];
    let read = async { while io.read(&mut forgotten).await.is_ok_and(|count| count > 0) {} };
    let _done = tokio::time::timeout(LINGER, read).await;
}
