//! Connections to ports of a pod, from inside its network namespace.
//!
//! A socket belongs to the namespace that it was made in, whoever uses it later. So a thread of its own enters the
//! namespace, makes sockets there and ends; they connect here, as any others.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::{DockerRuntime, failed};
use crate::runtime::{Port, RuntimeError};

/// How long connecting may take: it never leaves the machine.
const CONNECT: Duration = Duration::from_secs(10);

impl DockerRuntime {
    pub(super) async fn dial(&self, sandbox_id: &str, port: u16) -> Result<Port, RuntimeError> {
        let docker = self.docker().await?;
        let inspect = docker.inspect_container(sandbox_id, None).await.map_err(failed)?;
        let pid = inspect.state.and_then(|state| state.pid).filter(|pid| *pid > 0);
        let pid = pid.ok_or_else(|| RuntimeError::Failed("the pod's sandbox has ended".to_owned()))?;
        let netns = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let sockets = sockets(netns).await.map_err(|error| {
            RuntimeError::Network(format!("cannot enter the pod's network namespace: {error}"))
        })?;
        let stream = connect(sockets, port).await.map_err(|why| {
            RuntimeError::Network(format!("failed to connect to localhost:{port} inside the pod: {why}"))
        })?;
        Ok(Box::new(stream))
    }
}

/// A socket for each family that the namespace has.
struct Sockets {
    v4: std::io::Result<OwnedFd>,
    v6: std::io::Result<OwnedFd>,
}

async fn sockets(netns: PathBuf) -> std::io::Result<Sockets> {
    let (sender, made) = oneshot::channel();
    std::thread::Builder::new().name("netns".to_owned()).spawn(move || {
        // Whoever asked may have gone.
        let _ = sender.send(make(&netns));
    })?;
    made.await.map_err(std::io::Error::other)?
}

/// Only on a thread that ends after it: it stays in the namespace.
fn make(netns: &std::path::Path) -> std::io::Result<Sockets> {
    setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let open = |family| socket(family, SockType::Stream, flags, None).map_err(std::io::Error::from);
    Ok(Sockets { v4: open(AddressFamily::Inet), v6: open(AddressFamily::Inet6) })
}

async fn connect(sockets: Sockets, port: u16) -> Result<TcpStream, String> {
    let Sockets { v4, v6 } = sockets;
    let v4 = attempt(v4, SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
    let why = match v4 {
        Ok(stream) => return Ok(stream),
        Err(why) => why,
    };
    // A server may listen on IPv6 only.
    attempt(v6, SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await.map_err(|_| why.to_string())
}

async fn attempt(socket: std::io::Result<OwnedFd>, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket?));
    let stream = tokio::time::timeout(CONNECT, socket.connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_listens_on_either_loopback_address_is_reached() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = tokio::net::TcpListener::bind(address).await else { continue };
            let port = listener.local_addr().expect("an address").port();
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let open = |family| socket(family, SockType::Stream, flags, None).map_err(std::io::Error::from);
            let sockets = Sockets { v4: open(AddressFamily::Inet), v6: open(AddressFamily::Inet6) };
            let (connected, accepted) = tokio::join!(connect(sockets, port), listener.accept());
            assert!(connected.is_ok() && accepted.is_ok(), "{address}");
        }
    }
}
