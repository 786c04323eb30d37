//! The headers of SPDY streams: names and values in one compressed stream for each direction of a connection, which
//! begins with the words of [`dictionary`] known to both sides.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::SpdyError;

/// The most bytes that the headers of one stream may have when they are not compressed: Kubernetes sends a hundred.
const MAX_BLOCK: usize = 64 * 1024;

/// The most headers of one stream.
const MAX_HEADERS: usize = 256;

/// Words of the dictionary, each with its length before it.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
user-agent vary via warning www-authenticate method get status";

/// More of them: one has a space.
const MORE_WORDS: [&str; 8] =
    ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];

/// The rest of the dictionary.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept \
Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8\
charset=iso-8859-1,utf-,*,enq=0.";

/// What both sides know before the first header: prescribed by SPDY/3.
fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS.split(' ').chain(MORE_WORDS) {
        put_text(&mut bytes, word);
    }
    bytes.extend_from_slice(TEXT.as_bytes());
    bytes
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Nothing that we send is near four gigabytes.
    out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The headers of a stream, names in small letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::streams) struct Headers(pub(in crate::streams) Vec<(String, String)>);

impl Headers {
    /// The value of that name, or nothing.
    pub(in crate::streams) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// Reads the headers that the other side sends.
pub(super) struct Inflater(Decompress);

impl Inflater {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Reads one block. After an error the connection is lost: both sides must have seen the same bytes.
    pub(super) fn read(&mut self, mut compressed: &[u8]) -> Result<Headers, SpdyError> {
        let mut block = Vec::with_capacity(1024);
        loop {
            if block.len() == block.capacity() {
                block.reserve(1024);
            }
            let (read, written) = (self.0.total_in(), block.len());
            let status = match self.0.decompress_vec(compressed, &mut block, FlushDecompress::Sync) {
                Ok(status) => status,
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| SpdyError::Headers)?;
                    Status::Ok
                }
                Err(_) => return Err(SpdyError::Headers),
            };
            let taken = usize::try_from(self.0.total_in() - read).map_err(|_| SpdyError::Headers)?;
            compressed = &compressed[taken..];
            if block.len() > MAX_BLOCK {
                return Err(SpdyError::TooLong);
            }
            match status {
                Status::StreamEnd => return Err(SpdyError::Headers),
                // All is read, and what came of it did not fill the room there was.
                _ if compressed.is_empty() && block.len() < block.capacity() => break,
                _ if taken == 0 && block.len() == written && compressed.is_empty() => break,
                _ if taken == 0 && block.len() == written && block.len() < block.capacity() => {
                    return Err(SpdyError::Headers);
                }
                _ => {}
            }
        }
        parse(&block)
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, SpdyError> {
    let count = number(&mut block)?;
    if count > MAX_HEADERS {
        return Err(SpdyError::TooLong);
    }
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = text(&mut block)?.to_ascii_lowercase();
        headers.push((name, text(&mut block)?));
    }
    if block.is_empty() { Ok(Headers(headers)) } else { Err(SpdyError::Headers) }
}

fn number(block: &mut &[u8]) -> Result<usize, SpdyError> {
    let (bytes, rest) = block.split_first_chunk::<4>().ok_or(SpdyError::Headers)?;
    *block = rest;
    Ok(u32::from_be_bytes(*bytes) as usize)
}

fn text(block: &mut &[u8]) -> Result<String, SpdyError> {
    let length = number(block)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(SpdyError::Headers)?;
    *block = rest;
    String::from_utf8(bytes.to_vec()).map_err(|_| SpdyError::Headers)
}

/// Writes the headers that we send.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        compress.set_dictionary(&dictionary()).expect("nothing is compressed yet");
        Self(compress)
    }

    /// Writes one block.
    pub(super) fn write(&mut self, headers: &Headers) -> Vec<u8> {
        let mut block = Vec::new();
        block.extend(u32::try_from(headers.0.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (name, value) in &headers.0 {
            put_text(&mut block, name);
            put_text(&mut block, value);
        }
        let mut out = Vec::with_capacity(block.len() + 64);
        let begun = self.0.total_in();
        loop {
            let taken = usize::try_from(self.0.total_in() - begun).unwrap_or(block.len());
            let room = out.capacity() - out.len();
            // Into memory of our own, with room, it cannot fail.
            let _status = self.0.compress_vec(&block[taken..], &mut out, FlushCompress::Sync);
            if room > 0 && out.len() < out.capacity() {
                return out;
            }
            out.reserve(256);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_prescribed_one() {
        let bytes = dictionary();
        let (mut a, mut b) = (1u32, 0u32);
        for byte in &bytes {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!((bytes.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn block_after_block_survives_the_way() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        let long = "x".repeat(20_000);
        for pairs in [
            &[("streamtype", "error")][..],
            &[("streamtype", "data"), ("port", "80"), ("requestid", "0")],
            &[],
            &[("streamtype", long.as_str())],
            &[("streamtype", "data"), ("port", "80"), ("requestid", "1")],
        ] {
            let sent = headers(pairs);
            assert_eq!(inflater.read(&deflater.write(&sent)).expect("good"), sent);
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let sent = headers(&[("streamtype", &"x".repeat(MAX_BLOCK + 1))]);
        let bytes = Deflater::new().write(&sent);
        assert!(bytes.len() < 2000);
        assert!(matches!(Inflater::new().read(&bytes), Err(SpdyError::TooLong)));
    }

    #[test]
    fn what_is_no_header_block_is_refused() {
        for block in [
            &b""[..],
            &[0, 0, 0],
            &[0, 0, 0, 1],
            &[0, 0, 0, 1, 0, 0, 0, 9, b'x'],
            &[0, 0, 0, 0, 1],
            &[0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0, 0, 0, 0],
            &[0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(parse(block).is_err(), "{block:?}");
        }
    }
}
