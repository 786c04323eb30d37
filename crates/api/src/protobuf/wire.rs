//! The protobuf wire format: a writer that writes from the end, and a reader that trusts nothing.
//!
//! A message has its length before it, so the writer starts at the end: by the time a length is due, what it measures
//! is there, and nothing is written twice.

use super::DecodeError;

/// How the bytes of a field are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
}

/// Writes from the end.
#[derive(Default)]
pub(super) struct Writer {
    /// Backwards.
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.reverse();
        self.bytes
    }

    /// Puts what is `written` before what is there, as the bytes of a field.
    pub(super) fn field<E>(
        &mut self,
        number: u32,
        write: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = self.bytes.len();
        write(self)?;
        let length = self.bytes.len() - end;
        self.raw_varint(length as u64);
        self.tag(number, WireType::Bytes);
        Ok(())
    }

    pub(super) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.prepend(bytes);
        self.raw_varint(bytes.len() as u64);
        self.tag(number, WireType::Bytes);
    }

    pub(super) fn varint(&mut self, number: u32, value: u64) {
        self.raw_varint(value);
        self.tag(number, WireType::Varint);
    }

    pub(super) fn double(&mut self, number: u32, value: f64) {
        self.prepend(&value.to_le_bytes());
        self.tag(number, WireType::Fixed64);
    }

    pub(super) fn prepend(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes.iter().rev());
    }

    fn tag(&mut self, number: u32, wire_type: WireType) {
        self.raw_varint(u64::from(number) << 3 | wire_type as u64);
    }

    fn raw_varint(&mut self, mut value: u64) {
        let mut forward = [0; 10];
        let mut length = 0;
        loop {
            let more = value > 0x7f;
            forward[length] = (value & 0x7f) as u8 | if more { 0x80 } else { 0 };
            value >>= 7;
            length += 1;
            if !more {
                break;
            }
        }
        self.prepend(&forward[..length]);
    }
}

/// One field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

impl<'a> Payload<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(DecodeError::WireType),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(DecodeError::Text)
    }

    pub(super) fn varint(self) -> Result<u64, DecodeError> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(DecodeError::WireType),
        }
    }
}

/// Reads the fields of a message.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next field with its number, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Payload<'a>)>, DecodeError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.raw_varint()?;
        let number =
            u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or(DecodeError::WireType)?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.raw_varint()?),
            1 => Payload::Fixed64(*self.take_array()?),
            2 => {
                let length = usize::try_from(self.raw_varint()?).map_err(|_| DecodeError::Truncated)?;
                Payload::Bytes(self.take(length)?)
            }
            5 => Payload::Fixed32(*self.take_array()?),
            _ => return Err(DecodeError::WireType),
        };
        Ok(Some((number, payload)))
    }

    /// The varints of a packed list.
    pub(super) fn next_packed(&mut self) -> Result<Option<u64>, DecodeError> {
        if self.bytes.is_empty() { Ok(None) } else { self.raw_varint().map(Some) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn raw_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for (i, byte) in self.bytes.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 {
                return Err(DecodeError::Varint);
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.bytes.len() < 10 { DecodeError::Truncated } else { DecodeError::Varint })
    }
}
