//! Whole streams over a pipe, with a client and a kubelet that the test plays.

use bytes::BytesMut;
use component::Shutdown;
use parking_lot::Mutex;
use rpc::v1::container_output::Message as Out;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_stream::wrappers::ReceiverStream;

use super::channels::Version;
use super::link::split;
use super::spdy::{Decoder, Encoder, Frame, Headers};
use super::*;

/// The kubelet's end of a process.
struct Process {
    heard: mpsc::Receiver<ContainerInput>,
    answers: mpsc::Sender<Result<ContainerOutput, tonic::Status>>,
}

impl Process {
    fn new() -> (Self, ProcessCall) {
        let (input, heard) = mpsc::channel(4);
        let (answers, output) = mpsc::channel(4);
        (Self { heard, answers }, ProcessCall { input, output: ReceiverStream::new(output).boxed() })
    }

    async fn say(&self, message: Out) {
        let said = self.answers.send(Ok(ContainerOutput { message: Some(message) })).await;
        said.expect("somebody listens");
    }

    /// All of standard input, and the sizes.
    async fn input(&mut self) -> (String, Vec<u32>) {
        let (mut text, mut widths) = (String::new(), Vec::new());
        while let Some(ContainerInput { message }) = self.heard.recv().await {
            match message {
                Some(In::Stdin(data)) => text += std::str::from_utf8(&data).expect("text"),
                Some(In::Resize(size)) => widths.push(size.width),
                other => panic!("not expected: {other:?}"),
            }
        }
        (text, widths)
    }
}

fn wanted(version: Version) -> Wanted {
    Wanted { verb: Verb::Exec, version, stdin: true, stdout: true, stderr: true, tty: true }
}

/// A client's frame of a WebSocket.
fn masked(payload: &[u8], opcode: u8) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).expect("short"), 0, 0, 0, 0];
    bytes.extend(payload);
    bytes
}

/// What a server sent on a WebSocket, as opcodes and payloads.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            short => (usize::from(*short), rest),
        };
        frames.push((first & 0x0f, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    frames
}

#[tokio::test]
async fn a_process_on_a_websocket() {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let (mut process, call) = Process::new();
    let (read, outlet) = split(server);
    let version = Version::of_websocket("v5.channel.k8s.io").expect("a version");
    let shutdown = Shutdown::new();
    let served = process::on_websocket(Messages::new(read), outlet, call, wanted(version), &shutdown);
    let kubelet = async {
        assert_eq!(process.input().await, ("typed".to_owned(), vec![80]));
        process.say(Out::Stdout("out".into())).await;
        process.say(Out::Stderr("err".into())).await;
        process.say(Out::ExitCode(7)).await;
    };
    let user = async {
        for (payload, opcode) in [
            (&b"\x00typ"[..], 2),
            (b"\x04{\"Width\":80,\"Height\":24}", 2),
            (b"p", 9),
            (b"\x00ed", 1),
            (b"\xff\x00", 2),
            (b"\x00too late", 2),
        ] {
            client.write_all(&masked(payload, opcode)).await.expect("sent");
        }
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.expect("its end");
        drop(client);
        frames(&all)
    };
    let ((), (), heard) = tokio::join!(served, kubelet, user);
    let messages: Vec<_> =
        heard.iter().filter(|(opcode, _)| *opcode == 2).map(|(_, data)| &data[..]).collect();
    assert_eq!(messages[..3], [&b"\x01"[..], b"\x01out", b"\x02err"]);
    let status: Value = serde_json::from_slice(&messages[3][1..]).expect("a Status");
    assert_eq!((messages[3][0], &status["details"]["causes"][0]["message"]), (3, &"7".into()));
    assert!(heard.contains(&(10, b"p".to_vec())), "a ping is answered");
    assert_eq!(heard.last(), Some(&(8, vec![3, 0xe8])), "the end is said");
}

#[tokio::test]
async fn a_client_that_leaves_or_talks_nonsense_ends_its_process() {
    for bytes in [&b""[..], b"nonsense that is not masked", &masked(b"\x03\xe8", 8)] {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let (mut process, call) = Process::new();
        let (read, outlet) = split(server);
        let version = Version::of_websocket("v4.channel.k8s.io").expect("a version");
        let shutdown = Shutdown::new();
        let served = process::on_websocket(Messages::new(read), outlet, call, wanted(version), &shutdown);
        let user = async {
            client.write_all(bytes).await.expect("sent");
            client.shutdown().await.expect("closed");
        };
        tokio::join!(served, user);
        assert!(process.heard.recv().await.is_none());
        assert!(process.answers.is_closed(), "the kubelet's call is over");
    }
}

#[tokio::test]
async fn a_server_that_ends_ends_its_streams() {
    let (_client, server) = tokio::io::duplex(64);
    let (process, call) = Process::new();
    let (read, outlet) = split(server);
    let shutdown = Shutdown::new();
    shutdown.trigger();
    let version = Version::of_spdy("v4.channel.k8s.io").expect("a version");
    process::on_spdy(Frames::bare(read), outlet, call, wanted(version), &shutdown).await;
    assert!(process.answers.is_closed());
}

/// A client on SPDY.
struct Spdy {
    stream: DuplexStream,
    encoder: Encoder,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Spdy {
    fn new(stream: DuplexStream) -> Self {
        Self { stream, encoder: Encoder::default(), decoder: Decoder::default(), buffer: BytesMut::new() }
    }

    async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut bytes = Vec::new();
        self.encoder.syn_stream(&mut bytes, stream, &Headers(headers.collect()), false);
        self.stream.write_all(&bytes).await.expect("sent");
    }

    async fn data(&mut self, stream: u32, data: &[u8], fin: bool) {
        let mut bytes = Vec::new();
        spdy::put_data(&mut bytes, stream, data, fin);
        self.stream.write_all(&bytes).await.expect("sent");
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.buffer).expect("SPDY") {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.buffer).await.expect("bytes") == 0 {
                return None;
            }
        }
    }

    /// What comes on these streams, until all of them have ended.
    async fn read(&mut self, streams: &[u32]) -> Vec<String> {
        let mut texts = vec![String::new(); streams.len()];
        let mut open = streams.len();
        while open > 0 {
            match self.next().await {
                Some(Frame::Data { stream, data, fin }) => {
                    let Some(at) = streams.iter().position(|own| *own == stream) else { continue };
                    texts[at] += std::str::from_utf8(&data).expect("text");
                    open -= usize::from(fin);
                }
                Some(_) => {}
                None => panic!("the connection ended first: {texts:?}"),
            }
        }
        texts
    }
}

#[tokio::test]
async fn a_process_on_spdy() {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let (mut process, call) = Process::new();
    let (read, outlet) = split(server);
    let version = Version::of_spdy("v4.channel.k8s.io").expect("a version");
    let shutdown = Shutdown::new();
    let served = process::on_spdy(Frames::bare(read), outlet, call, wanted(version), &shutdown);
    let kubelet = async {
        assert_eq!(process.input().await, ("typed".to_owned(), vec![80, 90]));
        process.say(Out::Stdout("x".repeat(100_000).into())).await;
        process.say(Out::ExitCode(0)).await;
    };
    let user = async {
        let mut client = Spdy::new(client);
        for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr"), (9, "resize")] {
            client.open(stream, &[("streamtype", kind)]).await;
            assert_eq!(client.next().await, Some(Frame::Other), "{kind} is answered");
        }
        client.open(11, &[("streamtype", "stdout")]).await;
        assert_eq!(client.next().await, Some(Frame::Reset { stream: 11 }));
        client.data(9, b"{\"Width\":80,\"Height\":1}", false).await;
        client.data(3, b"typ", false).await;
        client.data(9, b"{\"Width\":90,\"Height\":1}", false).await;
        client.data(3, b"ed", true).await;
        let texts = client.read(&[1, 5, 7, 3, 9]).await;
        assert_eq!((texts[1].len(), texts[2].as_str()), (100_000, ""));
        let status: Value = serde_json::from_str(&texts[0]).expect("a Status");
        assert_eq!(status["status"], "Success");
    };
    tokio::join!(served, kubelet, user);
}

/// Ports that answer in capitals; port 1 is closed.
#[derive(Default)]
struct Capitals {
    /// The numbers of the ports whose client has said its last.
    ended: Arc<Mutex<Vec<u16>>>,
}

impl Ports for Capitals {
    fn pod(&self) -> &str {
        "p"
    }

    fn call(
        &self,
        port: u16,
        queue: mpsc::Receiver<Bytes>,
    ) -> BoxFuture<'_, Result<Answers<PortForwardData>, Status>> {
        let ended = Arc::clone(&self.ended);
        Box::pin(async move {
            if port == 1 {
                return Err(Status::internal("connection refused"));
            }
            let answers =
                received(queue).map(|data| Ok(PortForwardData { data: data.to_ascii_uppercase().into() }));
            let end = stream::once(async move {
                ended.lock().push(port);
                Ok(PortForwardData { data: ".".into() })
            });
            Ok(answers.chain(end).boxed())
        })
    }
}

async fn forwarded(user: impl AsyncFnOnce(Spdy)) -> Vec<u16> {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let (read, outlet) = split(server);
    let ports = Capitals::default();
    let ended = Arc::clone(&ports.ended);
    let shutdown = Shutdown::new();
    let served = forward::serve(Frames::bare(read), outlet, Arc::new(ports), false, &shutdown);
    tokio::join!(served, user(Spdy::new(client)));
    assert!(shutdown.drain(Duration::from_secs(10)).await, "every connection ends with its client");
    ended.lock().clone()
}

/// Makes the two streams of a connection.
async fn dial(client: &mut Spdy, error: u32, data: u32, port: &str, id: &str) {
    for (stream, kind) in [(error, "error"), (data, "data")] {
        client.open(stream, &[("streamtype", kind), ("port", port), ("requestid", id)]).await;
        assert_eq!(client.next().await, Some(Frame::Other));
    }
    client.data(error, b"", true).await;
}

#[tokio::test]
async fn ports_are_connections_of_two_streams() {
    let ended = forwarded(async |mut client| {
        dial(&mut client, 1, 3, "80", "0").await;
        dial(&mut client, 5, 7, "81", "1").await;
        client.data(7, b"two", false).await;
        client.data(3, b"one", true).await;
        assert_eq!(client.read(&[1, 3]).await, ["", "ONE."]);
        client.data(7, b"two", true).await;
        let texts = client.read(&[5, 7]).await;
        assert!(texts[0].is_empty() && texts[1].ends_with("TWO."), "{texts:?}");
        // Without a number of the client's, as clients of old.
        client.open(9, &[("streamtype", "error"), ("port", "82")]).await;
        client.open(11, &[("streamtype", "data"), ("port", "82")]).await;
        client.data(11, b"", true).await;
        assert_eq!(client.read(&[9, 11]).await, ["", "."]);
    });
    assert_eq!(ended.await, [80, 81, 82]);
}

#[tokio::test]
async fn a_port_that_is_closed_is_told_on_the_stream_of_errors() {
    let ended = forwarded(async |mut client| {
        dial(&mut client, 1, 3, "1", "0").await;
        let texts = client.read(&[1, 3]).await;
        assert_eq!(
            texts,
            ["error forwarding port 1 to pod p: Internal error occurred: connection refused", ""]
        );
    });
    assert!(ended.await.is_empty());
}

#[tokio::test]
async fn connections_end_when_they_are_reset_and_when_the_client_leaves() {
    let ended = forwarded(async |mut client| {
        dial(&mut client, 1, 3, "80", "0").await;
        dial(&mut client, 5, 7, "81", "1").await;
        let mut reset = Vec::new();
        spdy::put_reset(&mut reset, 3, spdy::ResetCode::ProtocolError);
        client.stream.write_all(&reset).await.expect("sent");
        assert_eq!(client.read(&[1, 3]).await, ["", ""]);
        for (headers, stream) in [(&[("streamtype", "data"), ("port", "0")][..], 9), (&[("port", "80")], 11)]
        {
            client.open(stream, headers).await;
            assert_eq!(client.next().await, Some(Frame::Reset { stream }));
        }
    });
    ended.await;
}
