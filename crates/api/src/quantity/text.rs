//! How an amount is read and written.

use std::cmp::Ordering;
use std::fmt;

use super::{Format, MAX_EXPONENT, NANO, ParseQuantityError, Quantity};

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// By the power of 1024.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

pub(super) fn parse(text: &str) -> Result<Quantity, ParseQuantityError> {
    if text.is_empty() {
        return Err(ParseQuantityError::Format);
    }
    let (negative, unsigned) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, rest) = digits(unsigned);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    let (factor, exponent, format) = suffix(rest)?;

    let mantissa = number(whole, fraction)?.checked_mul(factor).ok_or(ParseQuantityError::Numeric)?;
    let fraction_length = i32::try_from(fraction.len()).map_err(|_| ParseQuantityError::Numeric)?;
    let exponent = exponent.saturating_sub(fraction_length).clamp(-MAX_EXPONENT, MAX_EXPONENT);
    let mut quantity =
        Quantity::from_parts(if negative { -mantissa } else { mantissa }, exponent, format).round_up(NANO);
    if format == Format::BinarySi {
        let magnitude = Quantity { mantissa: quantity.mantissa.abs(), ..quantity };
        if !quantity.is_zero() && magnitude < Quantity::new(1) {
            quantity.format = Format::DecimalSi;
        } else if magnitude > Quantity::new(i64::MAX) {
            let limit = i128::from(i64::MAX) * quantity.mantissa.signum();
            quantity = Quantity::from_parts(limit, 0, format);
        }
    }
    Ok(quantity)
}

/// The leading digits and what follows them.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Both parts as one number. Zeros at the ends are many and cheap to write, so they do not count as digits.
fn number(whole: &str, fraction: &str) -> Result<i128, ParseQuantityError> {
    whole.bytes().chain(fraction.bytes()).try_fold(0i128, |number, digit| {
        number
            .checked_mul(10)
            .and_then(|number| number.checked_add((digit - b'0').into()))
            .ok_or(ParseQuantityError::Numeric)
    })
}

/// What a suffix multiplies by: a factor and a power of ten.
fn suffix(text: &str) -> Result<(i128, i32, Format), ParseQuantityError> {
    let letters_end = text.find(|c: char| !"eEinumkKMGTP".contains(c)).unwrap_or(text.len());
    let (letters, rest) = text.split_at(letters_end);
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if !rest.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseQuantityError::Format);
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(suffix, _)| *suffix == text) {
        return Ok((1, *exponent, Format::DecimalSi));
    }
    if let Some(power) = BINARY.iter().position(|suffix| *suffix == text) {
        return Ok((1 << (10 * power), 0, Format::BinarySi));
    }
    match (letters, text[letters_end..].parse::<i64>()) {
        ("e" | "E", Ok(exponent)) => {
            let limit = i64::from(MAX_EXPONENT);
            Ok((1, exponent.clamp(-limit, limit) as i32, Format::DecimalExponent))
        }
        _ => Err(ParseQuantityError::Suffix),
    }
}

pub(super) fn write(quantity: &Quantity, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if quantity.is_zero() {
        return f.write_str("0");
    }
    if quantity.format == Format::BinarySi && write_binary(quantity, f)? {
        return Ok(());
    }
    // A suffix or exponent stands for a multiple of three zeros.
    let greatest = if quantity.format == Format::DecimalExponent { MAX_EXPONENT } else { 18 };
    let exponent = (quantity.exponent - quantity.exponent.rem_euclid(3)).min(greatest);
    let zeros = quantity.exponent - exponent;
    let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map(|(suffix, _)| *suffix);
    match (quantity.format, suffix) {
        (Format::DecimalSi | Format::BinarySi, Some(suffix)) if zeros < 60 => {
            write!(f, "{}{}{suffix}", quantity.mantissa, "0".repeat(zeros as usize))
        }
        _ if exponent == 0 => write!(f, "{}{}", quantity.mantissa, "0".repeat(zeros as usize)),
        _ => {
            let zeros = quantity.exponent.rem_euclid(3);
            write!(f, "{}{}e{}", quantity.mantissa, "0".repeat(zeros as usize), quantity.exponent - zeros)
        }
    }
}

/// Writes with a binary suffix, unless the amount is small or no whole number: decimal is clearer then.
fn write_binary(quantity: &Quantity, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
    let is_whole = quantity.exponent >= 0;
    let Some(mut value) = quantity.at_scale(0).filter(|value| is_whole && value.abs() >= 1024) else {
        return Ok(false);
    };
    let mut power = 0;
    while power + 1 < BINARY.len() && value % 1024 == 0 {
        value /= 1024;
        power += 1;
    }
    debug_assert_ne!(value.cmp(&0), Ordering::Equal);
    write!(f, "{value}{}", BINARY[power])?;
    Ok(true)
}
