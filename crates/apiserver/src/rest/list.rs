//! The body of a list: a header, the objects as they are stored, a trailer, in pieces of a size that suits sockets.
//!
//! The list is not put together anywhere: each piece is made when the client has taken the one before.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::registry::ResourceDef;
use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;
use http_body_util::BodyExt as _;
use store::Entry;

use crate::pipeline::render;
use crate::serve::{Body, full};
use crate::view::{ListMeta, View};

/// How large a piece is.
const PIECE: usize = 64 * 1024;

/// Makes the pieces of a list, one after the other.
pub(super) struct Pieces {
    def: Arc<ResourceDef>,
    view: View,
    entries: std::vec::IntoIter<Arc<Entry>>,
    first: bool,
    done: bool,
    /// What was begun.
    buffer: BytesMut,
}

impl Pieces {
    pub(super) fn new(def: Arc<ResourceDef>, view: View, meta: &ListMeta, entries: Vec<Arc<Entry>>) -> Self {
        let mut buffer = BytesMut::with_capacity(PIECE + PIECE / 4);
        buffer.put_slice(&view.list_head(meta));
        Self { def, view, entries: entries.into_iter(), first: true, done: false, buffer }
    }

    /// The next piece; the last one is followed by `None`.
    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        while self.buffer.len() < PIECE {
            let Some(entry) = self.entries.next() else {
                self.buffer.put_slice(self.view.list_tail());
                self.done = true;
                return Some(self.buffer.split().freeze());
            };
            if !std::mem::take(&mut self.first) {
                self.buffer.put_u8(b',');
            }
            self.view.item(&render(&self.def, &entry), &entry.value, &mut self.buffer);
        }
        let piece = self.buffer.split().freeze();
        self.buffer.reserve(PIECE + PIECE / 4);
        Some(piece)
    }

    /// The whole list.
    pub(super) fn whole(mut self) -> Bytes {
        let mut all = BytesMut::new();
        while let Some(piece) = self.next() {
            all.put_slice(&piece);
        }
        all.freeze()
    }

    /// As a body that makes its pieces when they are wanted. A list of one piece has a length.
    pub(super) fn into_body(mut self) -> Body {
        match self.next() {
            Some(only) if self.done => full(only),
            first => Streamed { pieces: self, first, encoder: None }.boxed_unsync(),
        }
    }

    /// The same, compressed. False where the list is so small that it was not.
    pub(super) fn into_gzip_body(mut self) -> (Body, bool) {
        match self.next() {
            Some(only) if self.done => (full(only), false),
            first => {
                let encoder = GzEncoder::new(Vec::with_capacity(PIECE), Compression::fast());
                (Streamed { pieces: self, first, encoder: Some(encoder) }.boxed_unsync(), true)
            }
        }
    }
}

struct Streamed {
    pieces: Pieces,
    first: Option<Bytes>,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Streamed {
    fn piece(&mut self) -> Option<std::io::Result<Bytes>> {
        if self.encoder.is_none() {
            return self.first.take().or_else(|| self.pieces.next()).map(Ok);
        }
        loop {
            let piece = self.first.take().or_else(|| self.pieces.next());
            let Some(piece) = piece else {
                let rest = self.encoder.take()?.finish();
                return Some(rest.map(Bytes::from));
            };
            let encoder = self.encoder.as_mut()?;
            if let Err(error) = encoder.write_all(&piece) {
                return Some(Err(error));
            }
            let ready = encoder.get_mut();
            if ready.len() >= PIECE / 2 {
                return Some(Ok(Bytes::from(std::mem::take(ready))));
            }
        }
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // After the last compressed piece the encoder is gone and the pieces are done: the end.
        let piece = self.piece();
        Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(Into::into)))
    }
}
