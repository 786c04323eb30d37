//! WebSocket frames (RFC 6455), the server's side. Pure: bytes in, frames out, and back.
//!
//! Messages are given on in pieces as they come, so that a message of any length costs no more than what the
//! socket gave. Extensions are never agreed on, so a reserved bit is an error.

use bytes::{Buf as _, Bytes, BytesMut};

/// A control frame has no more payload than this.
const MAX_CONTROL: usize = 125;

/// The longest head: two bytes, a length of eight, a mask of four.
pub(super) const MAX_HEAD: usize = 14;

/// Why a client's bytes are no WebSocket. The number is the code that the connection is closed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// An opcode or a reserved bit that there is not.
    #[error("a frame of an unknown kind")]
    Unknown,
    /// A client must.
    #[error("a frame that is not masked")]
    NotMasked,
    /// A control frame that is long or in parts.
    #[error("a control frame that is long or in parts")]
    BadControl,
    /// A message begins within another one, or goes on without one.
    #[error("a message that begins within another one, or goes on without one")]
    BadSequence,
    /// More than fits in an address space.
    #[error("a frame that is too long")]
    TooLong,
}

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A piece of a message, text or binary.
    Piece {
        /// Not masked any more.
        data: Bytes,
        /// Whether a message begins with it.
        first: bool,
        /// Whether the message ends with it.
        last: bool,
    },
    /// To be answered with a pong of the same payload.
    Ping(Bytes),
    /// An answer to a ping.
    Pong,
    /// Nothing follows.
    Close,
}

/// Makes frames of bytes. Feed it a buffer again and again.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
    /// A message has begun and not ended.
    within: bool,
}

#[derive(Debug, Default)]
enum State {
    /// A head follows.
    #[default]
    Head,
    /// The payload of a data frame follows.
    Data { mask: [u8; 4], turn: usize, left: u64, first: bool, last: bool },
    /// The payload of a control frame follows, as a whole.
    Control { mask: [u8; 4], opcode: u8, length: usize },
}

/// A head, as far as it matters.
struct Head {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    length: u64,
    size: usize,
}

fn head(buffer: &[u8]) -> Result<Option<Head>, FrameError> {
    let [one, two, rest @ ..] = buffer else { return Ok(None) };
    if one & 0x70 != 0 {
        return Err(FrameError::Unknown);
    }
    if two & 0x80 == 0 {
        return Err(FrameError::NotMasked);
    }
    let (length, extra) = match two & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 8),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    if length > i64::MAX as u64 {
        return Err(FrameError::TooLong);
    }
    let Some(mask) = rest[extra..].first_chunk::<4>() else { return Ok(None) };
    Ok(Some(Head { fin: one & 0x80 != 0, opcode: one & 0x0f, mask: *mask, length, size: 2 + extra + 4 }))
}

impl Decoder {
    /// Takes the next frame, or piece of one, out of the buffer. Nothing where more bytes are needed.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        loop {
            match &mut self.state {
                State::Head => {
                    let Some(head) = head(buffer)? else { return Ok(None) };
                    buffer.advance(head.size);
                    self.state = self.begin(&head)?;
                }
                State::Data { mask, turn, left, first, last } => {
                    let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
                    let taken = buffer.len().min(wanted);
                    if taken == 0 && *left > 0 {
                        return Ok(None);
                    }
                    let mut data = buffer.split_to(taken);
                    unmask(&mut data, *mask, *turn);
                    *turn = (*turn + taken) % 4;
                    *left -= taken as u64;
                    let ends = *left == 0;
                    let frame = Frame::Piece { data: data.freeze(), first: *first, last: *last && ends };
                    *first = false;
                    if ends {
                        self.state = State::Head;
                    }
                    return Ok(Some(frame));
                }
                State::Control { mask, opcode, length } => {
                    if buffer.len() < *length {
                        return Ok(None);
                    }
                    let mut data = buffer.split_to(*length);
                    unmask(&mut data, *mask, 0);
                    let frame = match *opcode {
                        8 => Frame::Close,
                        9 => Frame::Ping(data.freeze()),
                        _ => Frame::Pong,
                    };
                    self.state = State::Head;
                    return Ok(Some(frame));
                }
            }
        }
    }

    fn begin(&mut self, head: &Head) -> Result<State, FrameError> {
        let Head { fin, opcode, mask, length, .. } = *head;
        match opcode {
            0..=2 => {
                let first = opcode != 0;
                if first == self.within {
                    return Err(FrameError::BadSequence);
                }
                self.within = !fin;
                Ok(State::Data { mask, turn: 0, left: length, first, last: fin })
            }
            8..=10 => match usize::try_from(length) {
                Ok(length) if fin && length <= MAX_CONTROL => Ok(State::Control { mask, opcode, length }),
                _ => Err(FrameError::BadControl),
            },
            _ => Err(FrameError::Unknown),
        }
    }
}

fn unmask(data: &mut [u8], mask: [u8; 4], turn: usize) {
    let mut turned = mask;
    turned.rotate_left(turn);
    let mut chunks = data.chunks_exact_mut(4);
    for chunk in &mut chunks {
        for (byte, key) in chunk.iter_mut().zip(turned) {
            *byte ^= key;
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(turned) {
        *byte ^= key;
    }
}

/// What the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// A message of text.
    Text = 1,
    /// A message of bytes.
    Binary = 2,
    /// The last frame.
    Close = 8,
    /// Asks whether the client is still there.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

/// Writes the head of a whole frame with a payload of that length, which must follow.
pub(super) fn put_head(out: &mut Vec<u8>, opcode: Opcode, length: usize) {
    out.push(0x80 | opcode as u8);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(length)) => {
            out.push(126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
}

/// Writes a whole frame.
pub(super) fn put(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    put_head(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Writes the end: the code says that all is well, or why not.
pub(super) fn put_close(out: &mut Vec<u8>, code: u16, why: &str) {
    let mut end = why.len().min(MAX_CONTROL - 2);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&why.as_bytes()[..end]);
    put(out, Opcode::Close, &payload);
}

#[cfg(test)]
mod tests;
