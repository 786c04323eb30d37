//! Watch: lines of JSON, one for each change, for as long as the client listens.
//!
//! Changes that have come meanwhile are sent together, so that a busy watch costs one write for many of them.

use std::pin::Pin;
use std::sync::Arc;

use api::registry::ResourceDef;
use bytes::{BufMut as _, Bytes, BytesMut};
use component::Shutdown;
use futures_util::stream::{self, Stream, StreamExt as _};
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::negotiate::{Accepted, Media};
use super::{Answered, Call, answer, negotiate, protobuf};
use crate::metrics::Going;
use crate::pipeline::{Answer, Target, WatchEventType, WatchItem, WatchStream};
use crate::serve::Body;
use crate::streams::{self, Framing};
use crate::view::View;

/// Frames are gathered up to this many bytes.
const PIECE: usize = 64 * 1024;

/// The first of the numbers under which a store's event keeps its frames in protobuf, one for each type of frame.
const PROTOBUF_FRAMES: u32 = 0x7062_0000;

/// Answers with a watch.
pub(super) fn watch(call: &Call<'_>, target: &Target) -> Answered {
    let Accepted { media, form } = negotiate::watch(call.head)?;
    let view = View::new(target.def.clone(), form, call.query.get("includeObject"), call.context.now)?;
    let mut options = call.query.watch_options()?;
    if let Some(name) = &target.name {
        options.field_selector = format!("metadata.name={name}");
    }
    let going = call.app.requests.begin_watch().ok_or_else(super::too_many_requests)?;
    let changes = call.app.pipeline.watch(&call.context, target, &options)?;
    let frames = Frames {
        changes: Some(changes),
        view,
        media,
        def: target.def.clone(),
        clock: call.app.clock.clone(),
        first: true,
        shutdown: call.app.shutdown.clone(),
        _going: going,
    };
    if streams::wants_websocket(&call.head.headers) {
        let framing = match media {
            Media::Protobuf => Framing::Length,
            Media::Json | Media::Yaml => Framing::Lines,
        };
        return Ok(streams::watch(call.app, call.head, pieces(frames), framing)?);
    }
    let content_type = match media {
        Media::Protobuf => protobuf::WATCH_MEDIA_TYPE,
        Media::Json | Media::Yaml => media.content_type(),
    };
    let response = answer::with(StatusCode::OK, content_type, Bytes::new());
    Ok(response.map(|_| body(frames)))
}

struct Frames {
    /// Nothing once the watch has ended.
    changes: Option<WatchStream>,
    view: View,
    media: Media,
    def: Arc<ResourceDef>,
    clock: component::SharedClock,
    first: bool,
    shutdown: Shutdown,
    _going: Going,
}

fn body(frames: Frames) -> Body {
    StreamBody::new(pieces(frames).map(|piece| Ok(Frame::data(piece)))).boxed_unsync()
}

/// Frames, several of them together.
fn pieces(frames: Frames) -> Pin<Box<dyn Stream<Item = Bytes> + Send>> {
    Box::pin(stream::unfold(frames, |mut frames| async move { Some((frames.next().await?, frames)) }))
}

impl Frames {
    /// The next frames, as many as there are.
    async fn next(&mut self) -> Option<Bytes> {
        let changes = self.changes.as_mut()?;
        // Looked at first, because a busy watch never comes to wait for it.
        let change = if self.shutdown.is_triggered() {
            None
        } else {
            tokio::select! {
                biased;
                change = changes.next() => change,
                () = self.shutdown.triggered() => None,
            }
        };
        self.view.set_now(self.clock.now());
        let mut piece = BytesMut::with_capacity(8 * 1024);
        if !self.put(change, &mut piece) {
            return (!piece.is_empty()).then(|| piece.freeze());
        }
        while piece.len() < PIECE {
            let Some(ready) = self.changes.as_mut().and_then(WatchStream::try_next) else { break };
            if !self.put(ready, &mut piece) {
                break;
            }
        }
        Some(piece.freeze())
    }

    /// Adds a frame; false where it is the last.
    fn put(&mut self, change: Option<Answer<WatchItem>>, piece: &mut BytesMut) -> bool {
        match change {
            Some(Ok(item)) => {
                if self.media == Media::Protobuf {
                    piece.put_slice(&shared_frame(&item));
                    return true;
                }
                let stored = item.entry.as_ref().map_or(&item.object, |entry| &entry.value);
                piece.put_slice(b"{\"type\":\"");
                piece.put_slice(item.kind.as_str().as_bytes());
                piece.put_slice(b"\",\"object\":");
                self.view.frame(&item.object, stored, std::mem::take(&mut self.first), piece);
                piece.put_slice(b"}\n");
                true
            }
            Some(Err(status)) => {
                tracing::debug!(resource = %self.def.qualified(), error = %status, "watch ended");
                let status = serde_json::to_vec(&status).unwrap_or_default();
                if self.media == Media::Protobuf {
                    piece.put_slice(&protobuf_frame("ERROR", &status));
                } else {
                    piece.put_slice(b"{\"type\":\"ERROR\",\"object\":");
                    piece.put_slice(&status);
                    piece.put_slice(b"}\n");
                }
                self.changes = None;
                false
            }
            None => {
                self.changes = None;
                false
            }
        }
    }
}

/// A frame in protobuf, made once for all watchers of the store's event.
fn shared_frame(item: &WatchItem) -> Bytes {
    let make = || Bytes::from(protobuf_frame(item.kind.as_str(), &item.object));
    let number = match item.kind {
        WatchEventType::Added => PROTOBUF_FRAMES,
        WatchEventType::Modified => PROTOBUF_FRAMES + 1,
        WatchEventType::Deleted => PROTOBUF_FRAMES + 2,
        WatchEventType::Bookmark => return make(),
    };
    match &item.event {
        Some(event) => event.encoding(number, |_| make()),
        None => make(),
    }
}

/// A frame in protobuf. Every kind that is watched in it has a type.
fn protobuf_frame(kind: &str, object: &[u8]) -> Vec<u8> {
    api::protobuf::watch_frame(kind, &protobuf::write(object).unwrap_or_default())
}
