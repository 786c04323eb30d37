//! A watch on a WebSocket: one message for each change, and nothing in the other direction.

use api::status::Status;
use bytes::{Buf as _, Bytes};
use component::{ErrorChain, Shutdown, spawn};
use futures_util::stream::{Stream, StreamExt as _};
use http::Response;
use http::request::Parts;
use tracing::debug;

use super::link::{self, KeepAlive, Messages, Outlet};
use super::websocket::{self, Opcode};
use super::{on_upgrade, upgrade, upgraded};
use crate::serve::{App, Body};

/// How frames of a watch that come together are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each is a line of text.
    Lines,
    /// Each has its length, in four bytes, before it.
    Length,
}

/// Answers a watch with a WebSocket.
pub(crate) fn watch(
    app: &App,
    head: &Parts,
    pieces: impl Stream<Item = Bytes> + Send + Unpin + 'static,
    framing: Framing,
) -> Result<Response<Body>, Status> {
    let agreed = upgrade::one_way(head)?;
    let on_upgrade = on_upgrade(head)?;
    let shutdown = app.shutdown.clone();
    spawn(&app.shutdown, "watch-stream", async move {
        let Some(upgraded) = upgraded(on_upgrade).await else { return };
        let (read, outlet) = link::split(upgraded);
        serve(Messages::new(read), &outlet, pieces, framing, &shutdown).await;
    });
    Ok(agreed.response())
}

async fn serve(
    mut messages: Messages,
    outlet: &Outlet,
    mut pieces: impl Stream<Item = Bytes> + Unpin,
    framing: Framing,
    shutdown: &Shutdown,
) {
    let speak = async {
        while let Some(piece) = pieces.next().await {
            outlet.send(&messages_of(piece, framing)).await?;
        }
        outlet.close(1000, "").await?;
        Ok(outlet.shutdown().await?)
    };
    let listen = async {
        // What a client says means nothing, but that it is there.
        while messages.next(outlet).await?.is_some() {}
        Ok(())
    };
    match link::converse(outlet, KeepAlive::WebSocket, speak, listen, shutdown).await {
        Ok(true) => messages.linger().await,
        Ok(false) => {}
        Err(error) => debug!(error = %ErrorChain(&error), "a watch's WebSocket"),
    }
}

/// A message for each frame.
fn messages_of(mut piece: Bytes, framing: Framing) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len() + 64);
    match framing {
        Framing::Lines => {
            for line in piece.split_inclusive(|byte| *byte == b'\n') {
                websocket::put(&mut out, Opcode::Text, line);
            }
        }
        Framing::Length => {
            while piece.len() >= 4 {
                let length = (piece.get_u32() as usize).min(piece.len());
                websocket::put(&mut out, Opcode::Binary, &piece.split_to(length));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_a_message() {
        assert_eq!(messages_of("{}\n[]\n".into(), Framing::Lines), b"\x81\x03{}\n\x81\x03[]\n");
        let two = Bytes::from_static(b"\0\0\0\x02ab\0\0\0\x01c");
        assert_eq!(messages_of(two, Framing::Length), b"\x82\x02ab\x82\x01c");
        assert_eq!(messages_of(Bytes::new(), Framing::Lines), b"");
    }
}
