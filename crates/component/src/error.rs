//! How an error is written to a log: itself and its causes, each once.

use std::error::Error;
use std::fmt;

/// Displays an error and then each of its sources, separated by `: `.
///
/// Our errors do not print their sources themselves, so nothing appears twice.
pub struct ErrorChain<'a>(pub &'a dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read the configuration")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn a_chain_reads_from_the_outside_in() {
        let error = Outer("x".parse::<u8>().unwrap_err());
        assert_eq!(ErrorChain(&error).to_string(), "read the configuration: invalid digit found in string");
    }
}
