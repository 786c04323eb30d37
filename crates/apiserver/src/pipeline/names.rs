//! Where uids and generated names come from: randomness is a parameter, so that tests can repeat it.

/// The characters of generated suffixes: those that make no words and are not mistaken for each other.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// How long a generated suffix is.
const SUFFIX: usize = 5;

/// How long a generated name may be; a longer prefix is cut.
const LONGEST: usize = 63;

/// Makes what must not be guessed or repeated.
pub trait Names: Send + Sync {
    /// A version 4 UUID.
    fn uid(&self) -> String;
    /// A random number, for a suffix.
    fn random(&self) -> u64;

    /// `prefix` and five random characters.
    fn generate(&self, prefix: &str) -> String {
        let mut end = prefix.len().min(LONGEST - SUFFIX);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        let mut name = prefix[..end].to_owned();
        name.push_str(&suffix(self.random()));
        name
    }
}

/// Five characters that stand for a number.
pub(crate) fn suffix(mut number: u64) -> String {
    let base = ALPHABET.len() as u64;
    let one = |_| {
        let character = char::from(ALPHABET[(number % base) as usize]);
        number /= base;
        character
    };
    (0..SUFFIX).map(one).collect()
}

/// Names from the operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomNames;

impl Names for RandomNames {
    fn uid(&self) -> String {
        uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_fits_and_keeps_its_prefix() {
        let name = RandomNames.generate("web-");
        assert_eq!(name.len(), 9);
        assert!(name.starts_with("web-"));
        assert_eq!(RandomNames.generate(&"x".repeat(100)).len(), LONGEST);
        assert!(RandomNames.generate(&"é".repeat(100)).len() <= LONGEST);
    }
}
