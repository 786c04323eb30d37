//! Who made a write: a text that the writer gives, kept with the version that it made.
//!
//! The store does not know what it means. On the disk it stands before the value, and is sealed with it; a flag of the
//! record says that it is there. Read on: [`crate::log::format`] for records.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::log::format::AUTHORED;

/// Who made a write. Cheap to clone.
pub type Author = Arc<str>;

/// The longest author that is kept; a longer one is cut.
const LONGEST: usize = u8::MAX as usize;

/// The value as it stands in a record, and the flag that says how.
pub(crate) fn with_author<'a>(author: Option<&str>, value: &'a [u8]) -> (u8, Cow<'a, [u8]>) {
    let Some(author) = author else { return (0, Cow::Borrowed(value)) };
    let mut end = author.len().min(LONGEST);
    while !author.is_char_boundary(end) {
        end -= 1;
    }
    let author = &author.as_bytes()[..end];
    let mut whole = Vec::with_capacity(1 + author.len() + value.len());
    whole.push(author.len() as u8);
    whole.extend_from_slice(author);
    whole.extend_from_slice(value);
    (AUTHORED, Cow::Owned(whole))
}

/// Author and value of what stands in a record. What does not have the form has no author.
pub(crate) fn split(flags: u8, whole: Bytes) -> (Option<Author>, Bytes) {
    let length = whole.first().map_or(0, |length| usize::from(*length));
    if flags & AUTHORED == 0 || whole.len() <= length {
        return (None, whole);
    }
    let author = std::str::from_utf8(&whole[1..=length]).ok().map(Author::from);
    (author, whole.slice(1 + length..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_read_back_and_a_long_one_is_cut_between_characters() {
        let long = "ü".repeat(200);
        for (author, expected) in
            [(None, None), (Some(""), Some("")), (Some("me"), Some("me")), (Some(&*long), Some(&long[..254]))]
        {
            for value in [&b""[..], b"value"] {
                let (flags, whole) = with_author(author, value);
                let (found, rest) = split(flags, Bytes::copy_from_slice(&whole));
                assert_eq!((found.as_deref(), &*rest), (expected, value));
            }
        }
    }
}
