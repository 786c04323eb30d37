//! Ports of a pod for a client on SPDY, bare or inside of a WebSocket.
//!
//! Each connection is two streams, paired by a number of the client's: data in both directions, and an error, which is
//! a text. To the kubelet each connection is a call of its own. The client's frames are read by one loop: a pod that
//! does not read holds up the client's other connections once the queue of its own is full, since SPDY clients of
//! Kubernetes know no other way of being held up.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use component::{ErrorChain, Shutdown, spawn};
use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc, watch};
use tracing::debug;

use super::Ports;
use super::link::{self, Frames, KeepAlive, LinkError, Outlet};
use super::spdy::{self, Encoder, Frame, Headers, ResetCode};

/// The most connections of one client at the same time.
const MAX_CONNECTIONS: usize = 512;

/// How many pieces of a connection wait for the kubelet.
const QUEUE: usize = 16;

/// A connection that the client has made both streams for.
struct Connection {
    /// What the client sends; nothing any more once it has ended.
    sender: Option<mpsc::Sender<Bytes>>,
    /// Told when the client does not want it any more.
    cancel: Arc<Notify>,
}

/// Streams that wait for their twin; 0 is none.
#[derive(Default)]
struct Pair {
    error: u32,
    data: u32,
}

/// What the client's frames have made.
struct Client {
    outlet: Arc<Outlet>,
    ports: Arc<dyn Ports>,
    shutdown: Shutdown,
    encoder: Encoder,
    waiting: HashMap<String, Pair>,
    /// By the number of their data stream.
    connections: HashMap<u32, Connection>,
    /// Connections end when its sender is dropped.
    gone: watch::Receiver<()>,
}

/// Serves a client until it leaves.
pub(super) async fn serve(
    mut frames: Frames,
    outlet: Outlet,
    ports: Arc<dyn Ports>,
    tunnel: bool,
    shutdown: &Shutdown,
) {
    let outlet = Arc::new(outlet);
    let (stay, gone) = watch::channel(());
    let mut client = Client {
        outlet: Arc::clone(&outlet),
        ports,
        shutdown: shutdown.clone(),
        encoder: Encoder::default(),
        waiting: HashMap::new(),
        connections: HashMap::new(),
        gone,
    };
    let listen = async {
        while let Some(frame) = frames.next(&outlet).await? {
            client.hear(frame).await?;
        }
        Ok(())
    };
    // What is to be said comes from a task for each connection.
    let speak = std::future::pending();
    let ended = link::converse(&outlet, KeepAlive::Spdy, speak, listen, shutdown).await;
    drop(stay);
    if let Err(error) = ended {
        debug!(error = %ErrorChain(&error), "a port-forward");
        if tunnel {
            let _gone = outlet.close(1002, &error.to_string()).await;
        }
    }
}

impl Client {
    async fn hear(&mut self, frame: Frame) -> Result<(), LinkError> {
        match frame {
            Frame::SynStream { stream, headers, fin } => {
                let answer = self.open(stream, &headers);
                self.outlet.send(&answer).await?;
                if fin && let Some(connection) = self.connections.get_mut(&stream) {
                    connection.sender = None;
                }
            }
            Frame::Data { stream, data, fin } => {
                let Some(connection) = self.connections.get_mut(&stream) else { return Ok(()) };
                if let Some(sender) = &connection.sender
                    && !data.is_empty()
                    && sender.send(data).await.is_err()
                {
                    connection.sender = None;
                }
                if fin {
                    connection.sender = None;
                }
            }
            Frame::Reset { stream } => {
                if let Some(connection) = self.connections.remove(&stream) {
                    connection.cancel.notify_one();
                }
                self.waiting.retain(|_, pair| pair.error != stream && pair.data != stream);
            }
            Frame::Ping(number) if number % 2 == 1 => {
                let mut answer = Vec::new();
                spdy::put_ping(&mut answer, number);
                self.outlet.send(&answer).await?;
            }
            Frame::Ping(_) | Frame::GoAway | Frame::Other => {}
        }
        Ok(())
    }

    /// Takes or refuses a new stream.
    fn open(&mut self, stream: u32, headers: &Headers) -> Vec<u8> {
        let mut answer = Vec::new();
        let port = headers.get("port").parse::<u16>().ok().filter(|port| *port != 0);
        let kind = headers.get("streamtype");
        let (Some(port), "error" | "data") = (port, kind) else {
            spdy::put_reset(&mut answer, stream, ResetCode::ProtocolError);
            return answer;
        };
        // A connection whose kubelet has ended it is over for us when its client says so, or needs the room.
        if self.connections.len() + self.waiting.len() >= MAX_CONNECTIONS {
            self.connections.retain(|_, connection| Arc::strong_count(&connection.cancel) > 1);
        }
        if self.connections.len() + self.waiting.len() >= MAX_CONNECTIONS {
            spdy::put_reset(&mut answer, stream, ResetCode::RefusedStream);
            return answer;
        }
        let id = match headers.get("requestid") {
            // Clients of old make the stream of errors right before the one of data.
            "" if kind == "error" => format!("stream {stream}"),
            "" => format!("stream {}", stream.wrapping_sub(2)),
            id => id.to_owned(),
        };
        let pair = self.waiting.entry(id.clone()).or_default();
        let number = if kind == "error" { &mut pair.error } else { &mut pair.data };
        if *number != 0 {
            spdy::put_reset(&mut answer, stream, ResetCode::ProtocolError);
            return answer;
        }
        *number = stream;
        self.encoder.syn_reply(&mut answer, stream);
        if pair.error != 0 && pair.data != 0 {
            let Pair { error, data } = *pair;
            self.waiting.remove(&id);
            self.connect(port, error, data);
        }
        answer
    }

    fn connect(&mut self, port: u16, error: u32, data: u32) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let cancel = Arc::new(Notify::new());
        self.connections.insert(data, Connection { sender: Some(sender), cancel: Arc::clone(&cancel) });
        let (ports, outlet, gone) = (Arc::clone(&self.ports), Arc::clone(&self.outlet), self.gone.clone());
        spawn(&self.shutdown, "port-forward-connection", async move {
            let connection = Forward { ports, port, data, outlet: &outlet, cancel, gone };
            let told = connection.run(queue).await;
            let mut last = Vec::new();
            for text in told.as_bytes().chunks(spdy::MAX_DATA) {
                spdy::put_data(&mut last, error, text, false);
            }
            spdy::put_data(&mut last, data, b"", true);
            spdy::put_data(&mut last, error, b"", true);
            let _client_is_gone = outlet.send(&last).await;
        });
    }
}

/// One connection.
struct Forward<'a> {
    ports: Arc<dyn Ports>,
    port: u16,
    data: u32,
    outlet: &'a Outlet,
    cancel: Arc<Notify>,
    gone: watch::Receiver<()>,
}

impl Forward<'_> {
    /// Runs it to its end; gives what the client is to be told of it, if something went wrong.
    async fn run(mut self, queue: mpsc::Receiver<Bytes>) -> String {
        let failed = |status: &api::status::Status| {
            format!("error forwarding port {} to pod {}: {}", self.port, self.ports.pod(), status.message)
        };
        let call = tokio::select! {
            call = self.ports.call(self.port, queue) => call,
            () = self.cancel.notified() => return String::new(),
            _ = self.gone.changed() => return String::new(),
        };
        let mut output = match call {
            Ok(output) => output,
            Err(status) => return failed(&status),
        };
        loop {
            let piece = tokio::select! {
                biased;
                () = self.cancel.notified() => return String::new(),
                _ = self.gone.changed() => return String::new(),
                piece = output.next() => piece.transpose(),
            };
            let data = match piece {
                Ok(Some(piece)) => piece.data,
                Ok(None) => return String::new(),
                Err(status) => return failed(&rpc::status::from_grpc(&status)),
            };
            let mut bytes = Vec::with_capacity(data.len() + 64);
            for data in data.chunks(spdy::MAX_DATA) {
                spdy::put_data(&mut bytes, self.data, data, false);
            }
            if self.outlet.send(&bytes).await.is_err() {
                return String::new();
            }
        }
    }
}
