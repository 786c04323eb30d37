//! A server of datagrams in the network namespace of a container, for images that have none.

use std::fs::File;
use std::net::UdpSocket;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};

/// Binds a socket in the network namespace of the process `pid`: it stays there, whoever reads it.
pub fn bind_in(pid: &str, port: u16) -> Result<tokio::net::UdpSocket> {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).context("open the network namespace")?;
    // A thread of its own: the namespace is changed for it alone, and it ends with its task.
    let bound = std::thread::spawn(move || -> Result<UdpSocket> {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
        let socket = UdpSocket::bind(("0.0.0.0", port)).context("bind")?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    let socket = bound.join().map_err(|_| anyhow!("the thread ended early"))??;
    Ok(tokio::net::UdpSocket::from_std(socket)?)
}

/// Answers every datagram with `answer`, until an error.
pub async fn answer(socket: tokio::net::UdpSocket, answer: &str) -> Result<()> {
    let mut asked = [0; 512];
    loop {
        let (_length, from) = socket.recv_from(&mut asked).await?;
        socket.send_to(answer.as_bytes(), from).await?;
    }
}

/// Sends a datagram from a port of its own. The answer, where one came within a moment.
pub async fn ask(address: &str) -> Result<Option<String>> {
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(address).await?;
    let mut answer = [0; 512];
    // Refused where the rules have no endpoint yet.
    let asked = async {
        socket.send(b"who").await?;
        socket.recv(&mut answer).await
    };
    match tokio::time::timeout(std::time::Duration::from_millis(500), asked).await {
        Ok(Ok(length)) => Ok(Some(String::from_utf8_lossy(&answer[..length]).into_owned())),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}
