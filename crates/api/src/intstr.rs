//! A number or a text: ports (`80`, `http`) and shares (`2`, `25%`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// `intstr.IntOrString`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A name, or a percentage.
    String(String),
}

/// Which way a share that is no whole number goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// To the lesser.
    Down,
    /// To the greater.
    Up,
}

impl IntOrString {
    /// The number itself, or the percentage of `total`.
    pub fn scaled(&self, total: i32, round: Round) -> Result<i32, ScaleError> {
        let text = match self {
            Self::Int(number) => return Ok(*number),
            Self::String(text) => text,
        };
        let percent = text.strip_suffix('%').ok_or(ScaleError::NotAPercentage)?;
        let percent: i32 = percent.parse().map_err(|_| ScaleError::NotANumber { value: text.clone() })?;
        let product = i64::from(percent) * i64::from(total);
        let share = match round {
            Round::Down => product.div_euclid(100),
            Round::Up => -(-product).div_euclid(100),
        };
        Ok(i32::try_from(share).unwrap_or(if share < 0 { i32::MIN } else { i32::MAX }))
    }
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl From<i32> for IntOrString {
    fn from(number: i32) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for IntOrString {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

/// Why there is no share, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// A text without `%` at its end.
    #[error("invalid value for IntOrString: invalid type: string is not a percentage")]
    NotAPercentage,
    /// No number before the `%`.
    #[error("invalid value for IntOrString: invalid value {value:?}: strconv.Atoi: parsing {:?}: invalid syntax",
        .value.trim_end_matches('%'))]
    NotANumber {
        /// The whole text.
        value: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_asked() {
        for (value, total, down, up) in [
            (IntOrString::from(3), 10, 3, 3),
            (IntOrString::from("25%"), 10, 2, 3),
            (IntOrString::from("50%"), 10, 5, 5),
            (IntOrString::from("0%"), 10, 0, 0),
            (IntOrString::from("100%"), 3, 3, 3),
            (IntOrString::from("1%"), 1, 0, 1),
            (IntOrString::from("-25%"), 10, -3, -2),
            (IntOrString::from("2147483647%"), i32::MAX, i32::MAX, i32::MAX),
        ] {
            assert_eq!(value.scaled(total, Round::Down), Ok(down), "{value} of {total}");
            assert_eq!(value.scaled(total, Round::Up), Ok(up), "{value} of {total}");
        }
        for text in ["http", "x%", "%", ""] {
            assert!(IntOrString::from(text).scaled(10, Round::Up).is_err(), "{text}");
        }
    }

    #[test]
    fn json_has_a_number_or_a_text() {
        for (json, value) in [("80", IntOrString::from(80)), ("\"http\"", IntOrString::from("http"))] {
            assert_eq!(serde_json::from_str::<IntOrString>(json).expect(json), value);
            assert_eq!(serde_json::to_string(&value).expect("it encodes"), json);
        }
    }
}
