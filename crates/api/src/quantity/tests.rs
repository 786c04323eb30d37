//! Amounts against examples, and against their own laws.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn quantity(text: &str) -> Quantity {
    Quantity::parse(text).expect(text)
}

#[test]
fn each_amount_has_one_canonical_form() {
    for (text, canonical) in [
        ("0", "0"),
        ("0Gi", "0"),
        ("-0", "0"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("+1", "1"),
        ("001", "1"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("-1.5", "-1500m"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("0.0001Ki", "102400u"),
        ("1.1Ki", "1126400m"),
        ("8Ei", "9223372036854775807"),
        ("1Ei", "1Ei"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1e2", "100"),
        ("1.5e3", "1500"),
        ("12e-3", "12e-3"),
        ("1e4", "10e3"),
        ("12E", "12E"),
        ("1000E", "1000E"),
        ("1e21", "1e21"),
        ("100000000", "100M"),
        ("1n", "1n"),
        ("1.1n", "2n"),
        ("-1.1n", "-2n"),
        ("0.1u", "100n"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("k", "0"),
    ] {
        assert_eq!(quantity(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn what_is_no_amount_is_told_as_in_kubernetes() {
    for (text, error) in [
        ("", ParseQuantityError::Format),
        ("two", ParseQuantityError::Format),
        ("1 Gi", ParseQuantityError::Format),
        ("1.2.3", ParseQuantityError::Format),
        ("1é", ParseQuantityError::Format),
        ("--1", ParseQuantityError::Suffix),
        ("1gi", ParseQuantityError::Format),
        ("1e3m", ParseQuantityError::Format),
        ("1K", ParseQuantityError::Suffix),
        ("1GiB", ParseQuantityError::Format),
        ("1e", ParseQuantityError::Suffix),
        ("1ii", ParseQuantityError::Suffix),
        ("1m3", ParseQuantityError::Suffix),
        ("9999999999999999999999999999999999999999", ParseQuantityError::Numeric),
    ] {
        assert_eq!(Quantity::parse(text), Err(error), "{text}");
    }
    assert_eq!(
        ParseQuantityError::Format.to_string(),
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    );
}

#[test]
fn amounts_compare_by_what_they_are_worth() {
    let ascending = [
        "-1e900", "-1Gi", "-1", "-1m", "0", "1n", "1u", "1m", "999m", "1", "1001m", "1k", "1Ki", "1M", "1Mi",
        "1G", "1Gi", "1E", "1Ei", "1e100", "2e100", "1e101", "1e900",
    ];
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            assert_eq!(quantity(a).cmp(&quantity(b)), i.cmp(&j), "{a} {b}");
        }
    }
    assert_eq!(quantity("1000m"), quantity("1"));
    assert_eq!(quantity("1Ki"), quantity("1024"));
}

#[test]
fn values_are_rounded_away_from_zero() {
    for (text, value, milli) in [
        ("0", 0, 0),
        ("1m", 1, 1),
        ("1500m", 2, 1500),
        ("-1500m", -2, -1500),
        ("1u", 1, 1),
        ("1Gi", 1 << 30, 1000 << 30),
        ("8E", 8_000_000_000_000_000_000, i64::MAX),
        ("1e300", i64::MAX, i64::MAX),
        ("-1e300", i64::MIN, i64::MIN),
    ] {
        assert_eq!(quantity(text).value(), value, "{text}");
        assert_eq!(quantity(text).milli_value(), milli, "{text}");
    }
}

#[test]
fn sums_keep_the_suffixes_of_the_first() {
    for (a, b, sum, difference) in [
        ("1", "500m", "1500m", "500m"),
        ("1Gi", "1Gi", "2Gi", "0"),
        ("0", "1Gi", "1Gi", "-1Gi"),
        ("1Gi", "1G", "2073741824", "73741824"),
        ("1k", "1Ki", "2024", "-24"),
    ] {
        assert_eq!(quantity(a).checked_add(&quantity(b)).expect("a sum").to_string(), sum, "{a} + {b}");
        let subtracted = quantity(a).checked_sub(&quantity(b)).expect("a difference");
        assert_eq!(subtracted.to_string(), difference, "{a} - {b}");
    }
    assert_eq!(quantity("250m").checked_mul(3).expect("a product").to_string(), "750m");
    assert!(quantity("1e900").checked_add(&quantity("1")).is_none());
}

#[test]
fn json_gives_amounts_as_text_or_number() {
    for (json, text) in [("\"1Gi\"", "1Gi"), ("2", "2"), ("0.5", "500m"), ("null", "0"), ("\" 1 \"", "1")] {
        let quantity: Quantity = serde_json::from_str(json).expect(json);
        assert_eq!(quantity.to_string(), text);
    }
    assert_eq!(serde_json::to_string(&quantity("0.5")).expect("it encodes"), "\"500m\"");
}

fn amount() -> impl Strategy<Value = String> {
    "[-+]?[0-9]{1,8}(\\.[0-9]{0,6})?(n|u|m||k|M|G|T|P|E|Ki|Mi|Gi|Ti|e[0-9]|e-[0-9]|E[0-9]{1,2})"
}

proptest! {
    #[test]
    fn the_canonical_form_is_the_same_amount(text in amount()) {
        let parsed = quantity(&text);
        let canonical = parsed.to_string();
        prop_assert_eq!(quantity(&canonical), parsed);
        prop_assert_eq!(quantity(&canonical).to_string(), canonical);
    }

    #[test]
    fn adding_and_taking_away_changes_nothing(a in amount(), b in amount()) {
        let (a, b) = (quantity(&a), quantity(&b));
        if let Some(sum) = a.checked_add(&b) {
            prop_assert_eq!(sum.checked_sub(&b), Some(a));
            prop_assert_eq!(sum.cmp(&a), b.sign());
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-+0-9.eEinumkKMGTPé ]{0,48}") {
        if let Ok(quantity) = Quantity::parse(&text) {
            let _ = (quantity.to_string(), quantity.value(), quantity.milli_value(), quantity.to_f64());
            let _ = quantity.checked_add(&Quantity::new(1)).map(|sum| sum.to_string());
        }
    }
}
