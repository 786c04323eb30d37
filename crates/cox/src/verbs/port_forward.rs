//! `cox port-forward`: ports of this machine that lead into a pod.

use bytes::BytesMut;
use client::{Client, PortForwardOpen};
use component::{ErrorChain, Shutdown, spawn};
use futures_util::stream::{self, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::Session;
use super::logs::pod;
use crate::cli::{Global, PortForwardArgs};
use crate::error::CoxError;
use crate::output::Out;

/// How much of a connection is read at once.
const PIECE: usize = 32 * 1024;

pub(crate) async fn port_forward(
    global: &Global,
    args: &PortForwardArgs,
    out: &mut Out,
) -> Result<(), CoxError> {
    let ports = args.ports.iter().map(|text| ports(text)).collect::<Result<Vec<_>, _>>()?;
    let session = Session::open(global)?;
    let pod = pod(&session, &args.pod).await?;
    let tasks = Shutdown::new();
    let (problems, mut told) = mpsc::channel::<String>(16);
    for (local, remote) in ports {
        let listener = TcpListener::bind((args.address, local)).await;
        let listener = listener.map_err(CoxError::system("listen on a port of this machine"))?;
        let address = listener.local_addr().map_err(CoxError::system("listen on a port of this machine"))?;
        out.line(&format!("Forwarding from {address} -> {remote}"));
        let open = PortForwardOpen {
            namespace: session.namespace.clone(),
            pod: pod.clone(),
            port: remote.into(),
            ..PortForwardOpen::default()
        };
        let (client, problems, connections) = (session.client.clone(), problems.clone(), tasks.clone());
        spawn(&tasks, "listen", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (client, problems, open) = (client.clone(), problems.clone(), open.clone());
                spawn(&connections, "connection", async move {
                    if let Err(error) = forward(&client, open, stream).await {
                        let text = format!("port {remote}: {}", ErrorChain(&error));
                        let _ending = problems.send(text).await;
                    }
                });
            }
        });
    }
    drop(problems);
    while let Some(problem) = told.recv().await {
        out.error(&problem);
    }
    Ok(())
}

/// Reads `REMOTE`, `LOCAL:REMOTE` or `:REMOTE`.
fn ports(text: &str) -> Result<(u16, u16), CoxError> {
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let wrong = || CoxError::Usage(format!("{text}: ports are numbers, as 8080:80"));
    let local = if local.is_empty() { Ok(0) } else { local.parse() };
    let remote: u16 = remote.parse().map_err(|_| wrong())?;
    if remote == 0 {
        return Err(wrong());
    }
    Ok((local.map_err(|_| wrong())?, remote))
}

/// One connection, until either side ends it.
async fn forward(client: &Client, open: PortForwardOpen, stream: TcpStream) -> Result<(), CoxError> {
    let (mut read, mut write) = stream.into_split();
    let (sender, receiver) = mpsc::channel(4);
    let input =
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let mut answers = client.port_forward(open, input).await?;
    let there = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            match read.read_buf(&mut buffer).await {
                Ok(count) if count > 0 => {
                    if sender.send(buffer.split().freeze()).await.is_err() {
                        break;
                    }
                }
                _ => break,
            }
        }
        drop(sender);
        // What it has asked for may still come.
        std::future::pending::<()>().await;
    };
    let back = async {
        while let Some(piece) = answers.next().await {
            if write.write_all(&piece?).await.is_err() {
                break;
            }
        }
        Ok::<_, CoxError>(())
    };
    tokio::select! {
        () = there => Ok(()),
        ended = back => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_one_number_or_two() {
        for (text, expected) in [
            ("80", Some((80, 80))),
            ("8080:80", Some((8080, 80))),
            (":80", Some((0, 80))),
            ("0:80", Some((0, 80))),
            ("80:", None),
            ("x:80", None),
            ("80:70000", None),
            ("1:0", None),
        ] {
            assert_eq!(ports(text).ok(), expected, "{text}");
        }
    }
}
