//! Both directions of a process and of a port, with ends that are in the test's hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream;
use parking_lot::Mutex;
use tokio::io::DuplexStream;

use super::*;
use crate::runtime::Answer;

#[derive(Default)]
struct Known {
    sizes: Mutex<Vec<TerminalSize>>,
    abandoned: AtomicBool,
}

struct FakeControl(Arc<Known>, Option<i32>);

impl Control for FakeControl {
    fn resize(&self, size: TerminalSize) -> Answer<'_, ()> {
        self.0.sizes.lock().push(size);
        Box::pin(async { Ok(()) })
    }

    fn exit_code(&self) -> Answer<'_, Option<i32>> {
        Box::pin(async { Ok(self.1) })
    }

    fn abandon(&self) -> Answer<'_, ()> {
        self.0.abandoned.store(true, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }
}

/// A process, what is typed into it, and what becomes known.
struct Fake {
    process: Process,
    typed: DuplexStream,
    prints: mpsc::Sender<Result<Output, RuntimeError>>,
    known: Arc<Known>,
}

fn fake(code: Option<i32>) -> Fake {
    let (input, typed) = tokio::io::duplex(1024);
    let (prints, output) = mpsc::channel(4);
    let known = Arc::new(Known::default());
    let process = Process {
        input: Some(Box::new(input)),
        output: ReceiverStream::new(output).boxed(),
        control: Box::new(FakeControl(Arc::clone(&known), code)),
    };
    Fake { process, typed, prints, known }
}

fn input(message: In) -> Result<ContainerInput, tonic::Status> {
    Ok(ContainerInput { message: Some(message) })
}

#[tokio::test]
async fn what_is_typed_comes_in_and_what_is_printed_goes_out_and_the_code_is_last() {
    let Fake { process, mut typed, prints, known } = fake(Some(3));
    let requests = stream::iter([
        input(In::Stdin(Bytes::from_static(b"ab"))),
        input(In::Resize(rpc::v1::TerminalSize { width: 80, height: 100_000 })),
        input(In::Stdin(Bytes::from_static(b"c"))),
    ]);
    let (answers, mut heard) = mpsc::channel(QUEUE);
    let process_side = async move {
        let mut text = String::new();
        typed.read_to_string(&mut text).await.expect("its end");
        prints.send(Ok(Output::Stdout(text.into()))).await.expect("heard");
        prints.send(Ok(Output::Stderr("e".into()))).await.expect("heard");
    };
    let stopping = Shutdown::new();
    tokio::join!(serve(process, requests, answers, &stopping), process_side);
    let mut all = Vec::new();
    while let Some(answer) = heard.recv().await {
        all.push(answer.expect("good").message.expect("a message"));
    }
    assert_eq!(all, [Out::Stdout("abc".into()), Out::Stderr("e".into()), Out::ExitCode(3)]);
    assert_eq!(*known.sizes.lock(), [TerminalSize { width: 80, height: u16::MAX }]);
    assert!(!known.abandoned.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_command_without_its_client_is_abandoned() {
    // The answers are no longer wanted; the requests break off; the kubelet stops.
    for case in 0..3 {
        let Fake { process, typed: _typed, prints: _prints, known } = fake(Some(0));
        let broken: Result<ContainerInput, tonic::Status> = Err(tonic::Status::cancelled("gone"));
        let requests = match case {
            1 => stream::iter([broken]).boxed(),
            _ => stream::pending().boxed(),
        };
        let (answers, heard) = mpsc::channel(QUEUE);
        let stopping = Shutdown::new();
        let _heard = Some(heard).filter(|_| case != 0);
        if case == 2 {
            stopping.trigger();
        }
        serve(process, requests, answers, &stopping).await;
        assert!(known.abandoned.load(Ordering::SeqCst), "case {case}");
    }
}

#[tokio::test]
async fn a_process_may_close_its_input_and_go_on() {
    let Fake { process, typed, prints, .. } = fake(Some(0));
    drop(typed);
    let requests = stream::repeat_with(|| input(In::Stdin(Bytes::from_static(b"x")))).take(10);
    let (answers, mut heard) = mpsc::channel(QUEUE);
    let process_side = async move {
        prints.send(Ok(Output::Stdout("on".into()))).await.expect("heard");
    };
    let stopping = Shutdown::new();
    tokio::join!(serve(process, requests, answers, &stopping), process_side);
    let first = heard.recv().await.expect("an answer").expect("good");
    assert_eq!(first.message, Some(Out::Stdout("on".into())));
}

#[tokio::test]
async fn a_failing_runtime_is_told() {
    let Fake { process, prints, typed: _typed, .. } = fake(Some(0));
    let (answers, mut heard) = mpsc::channel(QUEUE);
    prints.send(Err(RuntimeError::Down("away".to_owned()))).await.expect("heard");
    serve(process, stream::pending(), answers, &Shutdown::new()).await;
    let told = heard.recv().await.expect("an answer").expect_err("a failure");
    assert!(told.message().contains("container runtime is down: away"), "{told}");
}

#[tokio::test]
async fn an_attached_process_ends_without_a_code() {
    let Fake { process, prints, typed: _typed, .. } = fake(None);
    drop(prints);
    let (answers, mut heard) = mpsc::channel(QUEUE);
    serve(process, stream::pending(), answers, &Shutdown::new()).await;
    assert!(heard.recv().await.is_none());
}

#[tokio::test]
async fn the_first_message_opens() {
    let open = ContainerOpen { container: "a".into(), ..ContainerOpen::default() };
    let mut good = stream::iter([input(In::Open(open.clone()))]);
    assert_eq!(first(&mut good).await.expect("opened"), open);
    let mut bad = stream::iter([input(In::Stdin(Bytes::new()))]);
    assert_eq!(first(&mut bad).await.expect_err("refused").code, 400);
    let mut none = stream::iter(Vec::<Result<PortForwardRequest, tonic::Status>>::new());
    assert_eq!(first_of_port(&mut none).await.expect_err("refused").code, 400);
}

#[tokio::test]
async fn bytes_flow_through_a_port_until_it_is_closed() {
    let (port, mut peer) = tokio::io::duplex(64);
    let (read, write) = tokio::io::split(Box::new(port) as Port);
    let requests = stream::iter([Ok(PortForwardRequest { message: Some(Sent::Data("ping".into())) })]);
    let (answers, mut heard) = mpsc::channel(QUEUE);
    let pod = async move {
        let mut text = String::new();
        peer.read_to_string(&mut text).await.expect("its end");
        peer.write_all(format!("{text}-pong").as_bytes()).await.expect("written");
    };
    let both = async {
        tokio::select! {
            () = receive(read, &answers) => {}
            () = send(requests, write) => {}
        }
        drop(answers);
    };
    tokio::join!(both, pod);
    let mut all = Vec::new();
    while let Some(answer) = heard.recv().await {
        all.extend_from_slice(&answer.expect("good").data);
    }
    assert_eq!(all, b"ping-pong");
}
