//! SPDY/3.1 frames, the server's side, as far as Kubernetes uses them. Pure: bytes in, frames out, and back.
//!
//! Clients of Kubernetes know no flow control by windows: what holds them up is a socket that nobody reads. So data
//! is given on in pieces as it comes, and never kept here; other frames are small, and bounded.

mod headers;

use bytes::{Buf as _, Bytes, BytesMut};

pub(super) use headers::Headers;
use headers::{Deflater, Inflater};

/// The version in control frames.
const VERSION: u16 = 3;

/// The last frame on its side of a stream.
const FIN: u8 = 1;

/// The longest control frame that is taken.
const MAX_CONTROL: usize = 64 * 1024;

/// The most data of one frame that we send.
pub(super) const MAX_DATA: usize = 32 * 1024;

/// Why a client's bytes are no SPDY. Always the end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpdyError {
    /// Of another version.
    #[error("a frame of another version")]
    Version,
    /// Too short, or about the stream 0.
    #[error("a frame that is not well-formed")]
    Malformed,
    /// Longer than it may be.
    #[error("a frame that is too long")]
    TooLong,
    /// The compressed headers are none.
    #[error("headers that cannot be read")]
    Headers,
}

/// Why a stream is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetCode {
    /// Its frames make no sense.
    ProtocolError = 1,
    /// There are too many streams, or it is not expected.
    RefusedStream = 3,
}

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream.
    SynStream {
        /// Its number.
        stream: u32,
        /// What it is for.
        headers: Headers,
        /// Whether the client will send nothing on it.
        fin: bool,
    },
    /// A piece of what is sent on a stream.
    Data {
        /// Its number.
        stream: u32,
        /// Perhaps empty.
        data: Bytes,
        /// Whether it is the last.
        fin: bool,
    },
    /// Nothing more comes on a stream, and nothing more is wanted.
    Reset {
        /// Its number.
        stream: u32,
    },
    /// To be answered with the same number.
    Ping(u32),
    /// No new streams.
    GoAway,
    /// Settings, windows, headers that follow later, and what else needs no answer.
    Other,
}

/// Makes frames of bytes. Feed it a buffer again and again.
pub(super) struct Decoder {
    inflater: Inflater,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A head of eight bytes follows.
    Head,
    /// Data follows.
    Data { stream: u32, left: usize, fin: bool },
}

impl Default for Decoder {
    fn default() -> Self {
        Self { inflater: Inflater::new(), state: State::Head }
    }
}

impl Decoder {
    /// Takes the next frame, or piece of data, out of the buffer. Nothing where more bytes are needed.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, SpdyError> {
        match self.state {
            State::Head => self.head(buffer),
            State::Data { stream, left, fin } => Ok(self.data(buffer, stream, left, fin)),
        }
    }

    fn head(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, SpdyError> {
        let Some(head) = buffer.first_chunk::<8>() else { return Ok(None) };
        let [a, b, c, d, flags, length @ ..] = *head;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
        if a & 0x80 == 0 {
            let stream = stream_id([a, b, c, d])?;
            buffer.advance(8);
            return Ok(self.data(buffer, stream, length, flags & FIN != 0));
        }
        if u16::from_be_bytes([a & 0x7f, b]) != VERSION {
            return Err(SpdyError::Version);
        }
        if length > MAX_CONTROL {
            return Err(SpdyError::TooLong);
        }
        if buffer.len() < 8 + length {
            return Ok(None);
        }
        buffer.advance(8);
        let body = buffer.split_to(length).freeze();
        self.control(u16::from_be_bytes([c, d]), flags, &body).map(Some)
    }

    fn data(&mut self, buffer: &mut BytesMut, stream: u32, left: usize, fin: bool) -> Option<Frame> {
        let taken = buffer.len().min(left);
        self.state =
            if taken == left { State::Head } else { State::Data { stream, left: left - taken, fin } };
        if taken == 0 && left > 0 {
            return None;
        }
        let data = buffer.split_to(taken).freeze();
        Some(Frame::Data { stream, data, fin: fin && taken == left })
    }

    fn control(&mut self, kind: u16, flags: u8, body: &[u8]) -> Result<Frame, SpdyError> {
        match kind {
            // The number, that of another stream that it belongs to, and a priority: the latter two have no use here.
            1 => {
                let (head, block) = body.split_first_chunk::<10>().ok_or(SpdyError::Malformed)?;
                let stream = stream_id([head[0], head[1], head[2], head[3]])?;
                let headers = self.inflater.read(block)?;
                Ok(Frame::SynStream { stream, headers, fin: flags & FIN != 0 })
            }
            // SYN_REPLY and HEADERS: the compressed stream goes on with them, whatever they say.
            2 | 8 => {
                let (stream, block) = body.split_first_chunk::<4>().ok_or(SpdyError::Malformed)?;
                let stream = stream_id(*stream)?;
                self.inflater.read(block)?;
                if flags & FIN != 0 {
                    return Ok(Frame::Data { stream, data: Bytes::new(), fin: true });
                }
                Ok(Frame::Other)
            }
            3 => {
                let (stream, _) = body.split_first_chunk::<4>().ok_or(SpdyError::Malformed)?;
                Ok(Frame::Reset { stream: stream_id(*stream)? })
            }
            6 => {
                let (number, _) = body.split_first_chunk::<4>().ok_or(SpdyError::Malformed)?;
                Ok(Frame::Ping(u32::from_be_bytes(*number)))
            }
            7 => Ok(Frame::GoAway),
            _ => Ok(Frame::Other),
        }
    }
}

fn stream_id(bytes: [u8; 4]) -> Result<u32, SpdyError> {
    match u32::from_be_bytes(bytes) & 0x7fff_ffff {
        0 => Err(SpdyError::Malformed),
        id => Ok(id),
    }
}

/// Makes bytes of what the server sends.
pub(super) struct Encoder(Deflater);

impl Default for Encoder {
    fn default() -> Self {
        Self(Deflater::new())
    }
}

impl Encoder {
    /// The answer to a new stream.
    pub(super) fn syn_reply(&mut self, out: &mut Vec<u8>, stream: u32) {
        let block = self.0.write(&Headers::default());
        put_control(out, 2, 0, 4 + block.len());
        out.extend(stream.to_be_bytes());
        out.extend(block);
    }

    /// A new stream: only clients of Kubernetes make them, so it is for tests.
    #[cfg(test)]
    pub(super) fn syn_stream(&mut self, out: &mut Vec<u8>, stream: u32, headers: &Headers, fin: bool) {
        let block = self.0.write(headers);
        put_control(out, 1, u8::from(fin), 10 + block.len());
        out.extend(stream.to_be_bytes());
        out.extend([0; 6]);
        out.extend(block);
    }
}

/// Writes data. It must not be longer than [`MAX_DATA`].
pub(super) fn put_data(out: &mut Vec<u8>, stream: u32, data: &[u8], fin: bool) {
    out.extend((stream & 0x7fff_ffff).to_be_bytes());
    put_length(out, if fin { FIN } else { 0 }, data.len());
    out.extend_from_slice(data);
}

/// Cuts a stream off.
pub(super) fn put_reset(out: &mut Vec<u8>, stream: u32, code: ResetCode) {
    put_control(out, 3, 0, 8);
    out.extend(stream.to_be_bytes());
    out.extend((code as u32).to_be_bytes());
}

/// Asks for an answer, or gives it. The server's numbers are even.
pub(super) fn put_ping(out: &mut Vec<u8>, number: u32) {
    put_control(out, 6, 0, 4);
    out.extend(number.to_be_bytes());
}

/// Says that no new streams are taken.
pub(super) fn put_go_away(out: &mut Vec<u8>, last: u32) {
    put_control(out, 7, 0, 8);
    out.extend(last.to_be_bytes());
    out.extend(0u32.to_be_bytes());
}

fn put_control(out: &mut Vec<u8>, kind: u16, flags: u8, length: usize) {
    out.extend((0x8000 | VERSION).to_be_bytes());
    out.extend(kind.to_be_bytes());
    put_length(out, flags, length);
}

fn put_length(out: &mut Vec<u8>, flags: u8, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    out.push(flags);
    out.extend_from_slice(&length[1..]);
}

#[cfg(test)]
mod tests;
