//! AES-256-GCM with keys from a file.
//!
//! The file has one key for each line: eight hex digits that name it and 64 that are it. The first one seals, all of
//! them open; so a key is rotated by putting a new one first ([`Keys::rotate`], and [`Keys::reload`] where the keys
//! are in use) and dropped when nothing that is kept was sealed with it. A sealed value is the key's name, the nonce, and the encrypted value with its tag.
//! Read on: [`super::Seal`] for who asks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use parking_lot::RwLock;

use super::{Seal, SealError};
use crate::disk::{Disk, Open, read_full, write_full};
use crate::key::Bucket;

/// Bytes of a key's name.
const NAME: usize = 4;

/// Bytes of a key.
const KEY: usize = 32;

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A line is not a key.
    #[error("line {line} of {} is not a key", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Reading or writing it failed.
    #[error("cannot use {}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// How it failed.
        #[source]
        source: io::Error,
    },
}

/// A key and its name.
type Named = ([u8; NAME], RandomizedNonceKey);

/// Keys, and the buckets that they are for.
pub struct Keys {
    keys: RwLock<Vec<Named>>,
    buckets: BTreeSet<Bucket>,
}

impl Keys {
    /// Opens the file, or makes it with one new key if it is not there.
    pub fn open(
        disk: &dyn Disk,
        file: &Path,
        buckets: impl IntoIterator<Item = Bucket>,
    ) -> Result<Keys, KeysError> {
        let text = match read(disk, file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = new_key().map_err(failed(file))?;
                replace(disk, file, &text).map_err(failed(file))?;
                text
            }
            read => read.map_err(failed(file))?,
        };
        let keys = RwLock::new(keys_of(&text, file)?);
        Ok(Keys { keys, buckets: buckets.into_iter().collect() })
    }

    /// Reads the file anew. What is written from now on is sealed with its first key.
    pub fn reload(&self, disk: &dyn Disk, file: &Path) -> Result<(), KeysError> {
        let text = read(disk, file).map_err(failed(file))?;
        *self.keys.write() = keys_of(&text, file)?;
        Ok(())
    }

    /// Puts a new key first. What is written from the next [`Keys::open`] or [`Keys::reload`] on is sealed with it.
    pub fn rotate(disk: &dyn Disk, file: &Path) -> Result<(), KeysError> {
        let old = read(disk, file).map_err(failed(file))?;
        keys_of(&old, file)?;
        let text = new_key().map_err(failed(file))? + &old;
        replace(disk, file, &text).map_err(failed(file))
    }
}

impl Seal for Keys {
    fn seals(&self, bucket: &Bucket) -> bool {
        self.buckets.contains(bucket)
    }

    fn seal(&self, context: &[u8], value: &[u8]) -> Result<Vec<u8>, SealError> {
        let keys = self.keys.read();
        let (name, key) = keys.first().ok_or(SealError::NoKey)?;
        let mut encrypted = value.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(context), &mut encrypted)
            .map_err(|_| SealError::Failed)?;
        let mut sealed = Vec::with_capacity(NAME + NONCE_LEN + encrypted.len());
        sealed.extend_from_slice(name);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&encrypted);
        Ok(sealed)
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (name, rest) = sealed.split_first_chunk::<NAME>().ok_or(SealError::Changed)?;
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Changed)?;
        let keys = self.keys.read();
        let (_, key) = keys.iter().find(|(known, _)| known == name).ok_or(SealError::NoKey)?;
        let mut value = encrypted.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length =
            key.open_in_place(nonce, Aad::from(context), &mut value).map_err(|_| SealError::Changed)?.len();
        value.truncate(length);
        Ok(value)
    }
}

fn failed(file: &Path) -> impl Fn(io::Error) -> KeysError + '_ {
    |source| KeysError::Io { file: file.to_owned(), source }
}

fn read(disk: &dyn Disk, file: &Path) -> io::Result<String> {
    let file = disk.open(file, Open::Existing)?;
    let mut bytes = vec![0; file.length()? as usize];
    let read = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Writes the file anew: all of it or nothing.
fn replace(disk: &dyn Disk, file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("tmp");
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = disk.open(&new, Open::New)?;
    write_full(&*written, text.as_bytes(), 0)?;
    written.sync()?;
    disk.rename(&new, file)?;
    disk.sync_dir(file.parent().unwrap_or(Path::new(".")))
}

fn new_key() -> io::Result<String> {
    let mut bytes = [0; NAME + KEY];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    let mut text = String::with_capacity(2 * bytes.len() + 2);
    for (at, byte) in bytes.iter().enumerate() {
        if at == NAME {
            text.push(' ');
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    Ok(text)
}

fn keys_of(text: &str, file: &Path) -> Result<Vec<Named>, KeysError> {
    let key = |line: &str| {
        let (name, key) = line.split_once(' ')?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &hex::<KEY>(key)?).ok()?;
        Some((hex::<NAME>(name)?, key))
    };
    let lines = text.lines().enumerate();
    let keys = lines.map(|(number, line)| {
        key(line).ok_or_else(|| KeysError::Malformed { file: file.to_owned(), line: number + 1 })
    });
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeysError::Malformed { file: file.to_owned(), line: 1 }) } else { Ok(keys) }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::disk::SimulatedDisk;

    fn open(disk: &SimulatedDisk) -> Result<Keys, KeysError> {
        Keys::open(disk, Path::new("/keys"), [Bucket::from("secrets")])
    }

    #[test]
    fn what_is_sealed_opens_with_its_context_only_and_any_change_is_noticed() {
        let disk = SimulatedDisk::new(1);
        let keys = open(&disk).expect("made");
        let sealed = keys.seal(b"here", b"secret").expect("sealed");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_ne!(keys.seal(b"here", b"secret").expect("sealed"), sealed, "a nonce of its own");
        assert_eq!(keys.open(b"here", &sealed).expect("opened"), b"secret");
        assert_eq!(keys.open(b"there", &sealed), Err(SealError::Changed));
        for bit in NAME * 8..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys.open(b"here", &changed), Err(SealError::Changed), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(keys.open(b"here", &sealed[..length]).is_err());
        }
    }

    #[test]
    fn keys_stay_and_a_rotated_one_still_opens_what_it_sealed() {
        let disk = SimulatedDisk::new(1);
        let old = open(&disk).expect("made").seal(b"here", b"secret").expect("sealed");
        assert_eq!(open(&disk).expect("read").open(b"here", &old).expect("opened"), b"secret");
        let in_use = open(&disk).expect("read");
        Keys::rotate(&disk, Path::new("/keys")).expect("rotated");
        let sealed = in_use.seal(b"here", b"secret").expect("sealed");
        assert_eq!(sealed[..NAME], old[..NAME], "the new key is not in use before it is read");
        in_use.reload(&disk, Path::new("/keys")).expect("read");
        let sealed = in_use.seal(b"here", b"secret").expect("sealed");
        assert_ne!(sealed[..NAME], old[..NAME]);
        assert_eq!(in_use.open(b"here", &old).expect("opened"), b"secret");
        let keys = open(&disk).expect("read");
        assert_eq!(keys.open(b"here", &old).expect("opened"), b"secret");
        assert_eq!(keys.open(b"here", &sealed).expect("opened"), b"secret");
        let new = keys.seal(b"here", b"secret").expect("sealed");
        assert_ne!(new[..NAME], old[..NAME], "sealed with the new key");
        let other = open(&SimulatedDisk::new(2)).expect("made");
        assert_eq!(other.open(b"here", &old), Err(SealError::NoKey));
    }

    #[test]
    fn a_line_that_is_not_a_key_is_named() {
        let disk = SimulatedDisk::new(1);
        let good = new_key().expect("random");
        for (text, line) in [(String::new(), 1), (format!("{good}nonsense\n"), 2), ("12 34".to_owned(), 1)] {
            replace(&disk, Path::new("/keys"), &text).expect("written");
            match open(&disk) {
                Err(KeysError::Malformed { line: found, .. }) => assert_eq!(found, line),
                Err(error) => panic!("{error}"),
                Ok(_) => panic!("opened"),
            }
        }
    }
}
