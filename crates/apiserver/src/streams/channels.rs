//! The channels of a process in one WebSocket: the first byte of each message says which. Pure.
//!
//! `channel.k8s.io` and its later versions send bytes; their twins with `base64` send text, for browsers of old.
//! From `v4` on a failure is a Status; from `v5` on a client may close its standard input.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use rpc::v1::TerminalSize;
use serde::Deserialize;

use super::websocket::{Opcode, put, put_head};

/// The channels.
pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// The longest message that is read as a whole: a size, or text in base64.
const MAX_WHOLE: usize = 1024 * 1024;

/// The longest size of a terminal.
const MAX_SIZE: usize = 4096;

/// A message that is none, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message that is too long or not base64")]
pub(super) struct MessageError;

/// How a client speaks of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    /// Failures are a Status, and text otherwise.
    pub(super) status: bool,
    /// Terminals may be resized.
    pub(super) resize: bool,
    /// Messages are text.
    pub(super) base64: bool,
    /// Channels may be closed.
    pub(super) close: bool,
}

impl Version {
    /// The version of that name on a WebSocket.
    pub(super) fn of_websocket(name: &str) -> Option<Self> {
        let (rest, base64) = match name {
            "" | "channel.k8s.io" => ("", false),
            "base64.channel.k8s.io" => ("", true),
            "v4.base64.channel.k8s.io" => ("v4", true),
            "v4.channel.k8s.io" => ("v4", false),
            "v5.channel.k8s.io" => ("v5", false),
            _ => return None,
        };
        Some(Self { status: !rest.is_empty(), resize: true, base64, close: rest == "v5" })
    }

    /// The version of that name on SPDY, where channels are streams.
    pub(super) fn of_spdy(name: &str) -> Option<Self> {
        let number = match name {
            "" | "channel.k8s.io" => 1,
            "v2.channel.k8s.io" => 2,
            "v3.channel.k8s.io" => 3,
            "v4.channel.k8s.io" => 4,
            "v5.channel.k8s.io" => 5,
            _ => return None,
        };
        Some(Self { status: number >= 4, resize: number >= 3, base64: false, close: true })
    }
}

/// What a client says to a process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// Into its standard input.
    Stdin(Bytes),
    /// That was all of it.
    StdinEnd,
    /// Its terminal has another size.
    Resize(TerminalSize),
}

/// Reads messages, of which pieces come as they come.
#[derive(Debug)]
pub(super) struct Channels {
    version: Version,
    /// The channel of the message that comes, once its first byte is there.
    channel: Option<u8>,
    /// A message that must be whole.
    whole: Vec<u8>,
}

impl Channels {
    pub(super) fn new(version: Version) -> Self {
        Self { version, channel: None, whole: Vec::new() }
    }

    /// Takes a piece of a message, and `last` where it ends.
    pub(super) fn hear(&mut self, mut data: Bytes, last: bool) -> Result<Option<Said>, MessageError> {
        if self.channel.is_none() && !data.is_empty() {
            let first = data.get_u8();
            self.channel = Some(if self.version.base64 { first.wrapping_sub(b'0') } else { first });
        }
        let Some(channel) = self.channel else { return Ok(None) };
        if last {
            self.channel = None;
        }
        if channel == STDIN && !self.version.base64 {
            return Ok((!data.is_empty()).then_some(Said::Stdin(data)));
        }
        let most = if channel == STDIN { MAX_WHOLE } else { MAX_SIZE };
        if self.whole.len() + data.len() > most {
            return Err(MessageError);
        }
        self.whole.extend_from_slice(&data);
        if !last {
            return Ok(None);
        }
        let mut whole = std::mem::take(&mut self.whole);
        if self.version.base64 {
            whole = STANDARD.decode(whole).map_err(|_| MessageError)?;
        }
        Ok(match channel {
            STDIN if whole.is_empty() => None,
            STDIN => Some(Said::Stdin(whole.into())),
            // A size that is none is not worth the stream.
            RESIZE if self.version.resize => {
                serde_json::from_slice(&whole).ok().map(|size: Size| Said::Resize(size.into()))
            }
            CLOSE if self.version.close && whole == [STDIN] => Some(Said::StdinEnd),
            _ => None,
        })
    }

    /// Writes a message.
    pub(super) fn put(version: Version, out: &mut Vec<u8>, channel: u8, payload: &[u8]) {
        if version.base64 {
            let mut text = String::with_capacity(payload.len() * 4 / 3 + 5);
            text.push(char::from(b'0' + channel));
            STANDARD.encode_string(payload, &mut text);
            put(out, Opcode::Text, text.as_bytes());
        } else {
            put_head(out, Opcode::Binary, payload.len() + 1);
            out.push(channel);
            out.extend_from_slice(payload);
        }
    }
}

/// As clients write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Size {
    #[serde(rename = "Width", alias = "width")]
    width: u16,
    #[serde(rename = "Height", alias = "height")]
    height: u16,
}

impl From<Size> for TerminalSize {
    fn from(size: Size) -> Self {
        Self { width: size.width.into(), height: size.height.into() }
    }
}

/// Reads the sizes that come one after the other on a stream of SPDY.
#[derive(Debug, Default)]
pub(super) struct Sizes(Vec<u8>);

impl Sizes {
    /// Takes a piece; gives the last size that is whole, since only that one counts.
    pub(super) fn hear(&mut self, data: &[u8]) -> Result<Option<TerminalSize>, MessageError> {
        if self.0.len() + data.len() > MAX_WHOLE {
            return Err(MessageError);
        }
        self.0.extend_from_slice(data);
        let mut sizes = serde_json::Deserializer::from_slice(&self.0).into_iter::<Size>();
        let mut last = None;
        let mut read = 0;
        for size in sizes.by_ref() {
            match size {
                Ok(size) => last = Some(size),
                Err(error) if error.is_eof() => break,
                Err(_) => return Err(MessageError),
            }
            read += 1;
        }
        let end = sizes.byte_offset();
        if read > 0 {
            self.0.drain(..end);
        }
        if self.0.len() > MAX_SIZE { Err(MessageError) } else { Ok(last.map(Into::into)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> Version {
        Version::of_websocket(name).expect("a version")
    }

    fn hear(name: &str, pieces: &[(&[u8], bool)]) -> Result<Vec<Said>, MessageError> {
        let mut channels = Channels::new(version(name));
        let heard = pieces.iter().map(|(data, last)| channels.hear(Bytes::copy_from_slice(data), *last));
        heard.filter_map(Result::transpose).collect()
    }

    fn size(width: u32, height: u32) -> TerminalSize {
        TerminalSize { width, height }
    }

    #[test]
    fn the_first_byte_says_what_a_message_is_for() {
        let stdin = |text: &'static str| Said::Stdin(text.into());
        for (name, pieces, said) in [
            ("v5.channel.k8s.io", &[(&b"\x00ab"[..], true)][..], vec![stdin("ab")]),
            (
                "v5.channel.k8s.io",
                &[(b"", false), (b"\x00", false), (b"a", false), (b"b", true)],
                vec![stdin("a"), stdin("b")],
            ),
            ("v5.channel.k8s.io", &[(b"\x00", true), (b"", true), (b"\x00c", true)], vec![stdin("c")]),
            ("v5.channel.k8s.io", &[(b"\xff\x00", true)], vec![Said::StdinEnd]),
            ("v5.channel.k8s.io", &[(b"\xff\x01", true)], vec![]),
            ("v4.channel.k8s.io", &[(b"\xff\x00", true)], vec![]),
            ("channel.k8s.io", &[(b"\x09x", true)], vec![]),
            (
                "v4.channel.k8s.io",
                &[(b"\x04{\"Width\":80,", false), (b"\"Height\":24}", true)],
                vec![Said::Resize(size(80, 24))],
            ),
            ("v4.channel.k8s.io", &[(b"\x04{\"Width\":\"wide\"}", true)], vec![]),
            ("base64.channel.k8s.io", &[(b"0aGVs", false), (b"bG8=", true)], vec![stdin("hello")]),
        ] {
            assert_eq!(hear(name, pieces), Ok(said), "{name} {pieces:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_not_base64_ends_the_stream() {
        assert_eq!(hear("v4.channel.k8s.io", &[(&[4; 5000], true)]), Err(MessageError));
        assert_eq!(hear("base64.channel.k8s.io", &[(b"0!!", true)]), Err(MessageError));
        assert!(hear("v4.channel.k8s.io", &[(&[0; 5_000_000], true)]).is_ok());
    }

    #[test]
    fn messages_to_clients_are_bytes_or_text() {
        let mut out = Vec::new();
        Channels::put(version("v5.channel.k8s.io"), &mut out, STDOUT, b"hi");
        assert_eq!(out, b"\x82\x03\x01hi");
        out.clear();
        Channels::put(version("v4.base64.channel.k8s.io"), &mut out, STDERR, b"hello");
        assert_eq!(out, b"\x81\x092aGVsbG8=");
    }

    #[test]
    fn sizes_come_one_after_the_other() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.hear(b"{\"Width\":1,\"Height\":2}\n{\"Wid"), Ok(Some(size(1, 2))));
        assert_eq!(sizes.hear(b"th\":3,\"Height\":4}"), Ok(Some(size(3, 4))));
        assert_eq!(sizes.hear(b"\n"), Ok(None));
        assert_eq!(sizes.hear(b"{\"Width\":5,\"Height\":6}{\"Width\":7,\"Height\":8}"), Ok(Some(size(7, 8))));
        assert_eq!(sizes.hear(b"nonsense"), Err(MessageError));
        assert_eq!(Sizes::default().hear(&[b' '; 5000]), Err(MessageError));
    }
}
