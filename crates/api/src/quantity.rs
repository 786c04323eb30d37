//! Amounts of cpu, memory and other resources: `500m`, `1Gi`, `2e3`.
//!
//! An amount is exact: `mantissa * 10^exponent`, down to nano. It is written in one canonical form, in the kind of
//! suffix it was read with: no fraction, the largest suffix that fits. The reading and writing is in `text`.

mod text;

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The smallest exponent: what is finer than nano is rounded away from zero when read.
const NANO: i32 = -9;
/// Where exponents end: far beyond any amount, near enough for arithmetic to be safe.
const MAX_EXPONENT: i32 = 1_000_000;

/// The kind of suffix an amount is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12Mi`
    BinarySi,
    /// `12M`
    #[default]
    DecimalSi,
}

/// An exact amount (`resource.Quantity`). Equal amounts are equal however they are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    /// Without factors of ten, unless the exponent is at its least or greatest.
    mantissa: i128,
    exponent: i32,
    format: Format,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { mantissa: 0, exponent: 0, format: Format::DecimalSi };

    /// `value`, written with decimal suffixes.
    pub fn new(value: i64) -> Self {
        Self::from_parts(value.into(), 0, Format::DecimalSi)
    }

    /// `milli` thousandths, written with decimal suffixes.
    pub fn from_milli(milli: i64) -> Self {
        Self::from_parts(milli.into(), -3, Format::DecimalSi)
    }

    /// `value`, written with binary suffixes.
    pub fn bytes(value: i64) -> Self {
        Self::from_parts(value.into(), 0, Format::BinarySi)
    }

    /// Reads an amount as Kubernetes does.
    pub fn parse(text: &str) -> Result<Self, ParseQuantityError> {
        text::parse(text)
    }

    /// How it is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// Less than zero, zero, or greater.
    pub fn sign(&self) -> Ordering {
        self.mantissa.cmp(&0)
    }

    /// In whole units, a fraction rounded away from zero, and at most what an `i64` holds.
    pub fn value(&self) -> i64 {
        self.scaled(0)
    }

    /// In thousandths, a fraction of them rounded away from zero, and at most what an `i64` holds.
    pub fn milli_value(&self) -> i64 {
        self.scaled(-3)
    }

    /// In units of `10^scale`, rounded away from zero, and at most what an `i64` holds.
    pub fn scaled(&self, scale: i32) -> i64 {
        let at_most = if self.mantissa < 0 { i64::MIN } else { i64::MAX };
        self.at_scale(scale).and_then(|value| i64::try_from(value).ok()).unwrap_or(at_most)
    }

    /// The same without what is finer than `10^scale`, rounded away from zero. Whether that changed it.
    #[must_use]
    pub fn round_up(&self, scale: i32) -> Self {
        match self.at_scale(scale) {
            Some(mantissa) if self.exponent < scale => Self::from_parts(mantissa, scale, self.format),
            _ => *self,
        }
    }

    /// As a number, for ratios and metrics.
    pub fn to_f64(&self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.exponent)
    }

    /// The sum, or `None` where it is beyond what can be held.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let format = if self.is_zero() { other.format } else { self.format };
        let (a, b, exponent) = self.aligned(other)?;
        Some(Self::from_parts(a.checked_add(b)?, exponent, format))
    }

    /// The difference, or `None` where it is beyond what can be held.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        let mut negated = *other;
        negated.mantissa = negated.mantissa.checked_neg()?;
        self.checked_add(&negated)
    }

    /// `factor` times as much, or `None` where that is beyond what can be held.
    pub fn checked_mul(&self, factor: i64) -> Option<Self> {
        Some(Self::from_parts(self.mantissa.checked_mul(factor.into())?, self.exponent, self.format))
    }

    /// `mantissa * 10^exponent` without the factors of ten, so that equal amounts have equal parts.
    fn from_parts(mut mantissa: i128, mut exponent: i32, format: Format) -> Self {
        if mantissa == 0 {
            return Self { mantissa: 0, exponent: 0, format };
        }
        while mantissa % 10 == 0 && exponent < MAX_EXPONENT {
            mantissa /= 10;
            exponent += 1;
        }
        Self { mantissa, exponent, format }
    }

    /// In units of `10^scale`, rounded away from zero, unless that is beyond an `i128`.
    fn at_scale(&self, scale: i32) -> Option<i128> {
        let shift = self.exponent.saturating_sub(scale);
        let power = 10i128.checked_pow(shift.unsigned_abs());
        if self.mantissa == 0 {
            return Some(0);
        }
        if shift >= 0 {
            return self.mantissa.checked_mul(power?);
        }
        let Some(power) = power else {
            return Some(self.mantissa.signum());
        };
        let exact = self.mantissa % power == 0;
        Some(self.mantissa / power + if exact { 0 } else { self.mantissa.signum() })
    }

    /// Both as multiples of the same power of ten.
    fn aligned(&self, other: &Self) -> Option<(i128, i128, i32)> {
        let exponent = match (self.is_zero(), other.is_zero()) {
            (true, _) => other.exponent,
            (_, true) => self.exponent,
            _ => self.exponent.min(other.exponent),
        };
        Some((self.at_scale(exponent)?, other.at_scale(exponent)?, exponent))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        if let Some((a, b, _)) = self.aligned(other) {
            return a.cmp(&b);
        }
        // They do not fit one scale: then they differ in sign, or in their number of digits.
        let rank = |quantity: &Self| {
            let digits = quantity.mantissa.unsigned_abs().checked_ilog10().map_or(0, |digits| digits as i32);
            (quantity.mantissa.signum(), quantity.mantissa.signum() * i128::from(quantity.exponent + digits))
        };
        rank(self).cmp(&rank(other))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}

impl std::str::FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        Self::parse(text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity as text or number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Quantity::parse(text.trim()).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity::from_parts(number.into(), 0, Format::DecimalSi))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity::new(number))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_unit<E: de::Error>(self) -> Result<Quantity, E> {
                Ok(Quantity::ZERO)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Why a text is no amount, in Kubernetes' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// It does not look like one.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// Its number has more digits than can be held.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// There is no such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}
