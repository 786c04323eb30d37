//! How long ago something was, as people like to read it: two units at most, the second one only while it matters.

use jiff::Timestamp;
use serde_json::Value;

/// The age of a timestamp of an object (RFC 3339), as `5m`.
pub(super) fn age(timestamp: &Value, now: Timestamp) -> String {
    let Some(text) = timestamp.as_str().filter(|text| !text.is_empty()) else {
        return "<unknown>".to_owned();
    };
    match text.parse::<Timestamp>() {
        Ok(then) => since(then, now),
        Err(_) => "<invalid>".to_owned(),
    }
}

/// From one moment to the other.
pub(super) fn since(then: Timestamp, now: Timestamp) -> String {
    human(now.duration_since(then).as_secs())
}

/// A number of seconds.
pub(super) fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |large: i64, one: char, small: i64, other: char| {
        if small == 0 { format!("{large}{one}") } else { format!("{large}{one}{small}{other}") }
    };
    match seconds {
        // Clocks differ a little; what is further ahead is an error.
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, 'm', seconds % MINUTE, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, 'h', seconds % HOUR / MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, 'd', seconds % DAY / HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds / YEAR, 'y', seconds % YEAR / DAY, 'd'),
        252_288_000.. => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_kubectl() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (8 * 3600 - 60, "7h59m"),
            (8 * 3600, "8h"),
            (48 * 3600 - 1, "47h"),
            (48 * 3600, "2d"),
            (8 * 86400 - 3600, "7d23h"),
            (8 * 86400, "8d"),
            (2 * 365 * 86400 - 1, "729d"),
            (2 * 365 * 86400, "2y"),
            (2 * 365 * 86400 + 86400, "2y1d"),
            (8 * 365 * 86400, "8y"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn what_has_no_time_has_an_unknown_age() {
        let now = "2026-11-24T12:00:00Z".parse().expect("a time");
        assert_eq!(age(&Value::Null, now), "<unknown>");
        assert_eq!(age(&"2026-11-24T11:59:00Z".into(), now), "60s");
    }
}
