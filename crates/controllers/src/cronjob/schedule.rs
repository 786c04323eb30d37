//! Schedules in the form of cron: `*/5 9-17 * * mon-fri`, `@hourly`, `@every 90s`. Pure.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};

/// When something runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At these minutes.
    At(Box<Fields>),
    /// Again after this time.
    Every(Duration),
}

/// The five fields: each a set of numbers, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether days and weekdays both restrict: then either is enough.
    either_day: bool,
}

/// Why a schedule cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(String);

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Further ahead than this nothing is looked for: the 30th of February never comes.
const HORIZON_YEARS: i16 = 5;

impl Schedule {
    /// Reads a schedule.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let fail = |why: &str| ScheduleError(format!("unparseable schedule: {text:?} : {why}"));
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => match other.strip_prefix("@every ") {
                Some(every) => {
                    let every: SignedDuration = every.trim().parse().map_err(|_| fail("no duration"))?;
                    let every = Duration::try_from(every).map_err(|_| fail("no duration"))?;
                    return Ok(Self::Every(every.max(Duration::from_secs(1))));
                }
                None => other,
            },
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(fail(&format!("expected exactly 5 fields, found {}", fields.len())));
        };
        let field = |text, bounds, names| parse_field(text, bounds, names).ok_or_else(|| fail(text));
        let restricts = |text: &str| !text.starts_with('*') && !text.starts_with('?');
        // Sunday is 0, and 7 as well.
        let sundays = field(weekdays, (0, 7), &WEEKDAYS[..])?;
        Ok(Self::At(Box::new(Fields {
            minutes: field(minutes, (0, 59), &[])?,
            hours: field(hours, (0, 23), &[])?,
            days: field(days, (1, 31), &[])?,
            months: field(months, (1, 12), &MONTHS[..])?,
            weekdays: (sundays | (sundays >> 7)) & 0x7f,
            either_day: restricts(days) && restricts(weekdays),
        })))
    }

    /// The first time after `after`.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(every) => after.checked_add(SignedDuration::try_from(*every).ok()?).ok(),
            Self::At(fields) => fields.next(after, zone),
        }
    }
}

impl Fields {
    /// Skips months, days and hours that do not match as a whole.
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut at = after.to_zoned(zone.clone()).checked_add(1.minute()).ok()?;
        at = at.with().second(0).subsec_nanosecond(0).build().ok()?;
        let last_year = at.year() + HORIZON_YEARS;
        while at.year() <= last_year {
            if !has(self.months, at.month()) {
                at = at.first_of_month().ok()?.start_of_day().ok()?.checked_add(1.month()).ok()?;
            } else if !self.is_day(&at) {
                at = at.start_of_day().ok()?.checked_add(1.day()).ok()?.start_of_day().ok()?;
            } else if !has(self.hours, at.hour()) {
                at = at.with().minute(0).build().ok()?.checked_add(1.hour()).ok()?;
            } else if !has(self.minutes, at.minute()) {
                at = at.checked_add(1.minute()).ok()?;
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }

    fn is_day(&self, at: &Zoned) -> bool {
        let day = has(self.days, at.day());
        let weekday = has(self.weekdays, at.weekday().to_sunday_zero_offset());
        if self.either_day { day || weekday } else { day && weekday }
    }
}

fn has(bits: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| bits & (1 << number) != 0)
}

/// `1,3-5,*/2,mon` as bits.
fn parse_field(text: &str, (least, most): (u32, u32), names: &[&str]) -> Option<u64> {
    let number = |text: &str| {
        let text = text.to_ascii_lowercase();
        match names.iter().position(|name| *name == text) {
            // Months are counted from 1, weekdays from 0: as their bounds are.
            Some(place) => Some(u32::try_from(place).ok()? + least),
            None => text.parse::<u32>().ok(),
        }
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match range {
            "*" | "?" => (least, if names.first() == Some(&"sun") { 6 } else { most }),
            _ => match range.split_once('-') {
                Some((from, to)) => (number(from)?, number(to)?),
                // `5/10` means from 5 on.
                None if step.is_some() => (number(range)?, most),
                None => (number(range)?, number(range)?),
            },
        };
        if from < least || to > most || from > to {
            return None;
        }
        for value in (from..=to).step_by(usize::try_from(step.unwrap_or(1)).ok()?) {
            bits |= 1u64 << value;
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: &str, after: &str, expected: &[&str]) {
        let schedule = Schedule::parse(schedule).unwrap();
        let mut at: Timestamp = after.parse().unwrap();
        for expected in expected {
            at = schedule.next(at, &TimeZone::UTC).unwrap();
            assert_eq!(at, expected.parse::<Timestamp>().unwrap());
        }
    }

    #[test]
    fn times_are_those_of_cron() {
        check("*/15 * * * *", "2026-11-24T12:07:30Z", &["2026-11-24T12:15:00Z", "2026-11-24T12:30:00Z"]);
        check("@hourly", "2026-12-31T23:00:00Z", &["2027-01-01T00:00:00Z"]);
        check(
            "0 9-17/4 * * mon-fri",
            "2026-11-27T13:00:00Z",
            &["2026-11-27T17:00:00Z", "2026-11-30T09:00:00Z"],
        );
        check("30 4 29 2 *", "2026-11-24T00:00:00Z", &["2028-02-29T04:30:00Z"]);
        check("0 0 13 * 5", "2026-11-01T00:00:00Z", &["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z"]);
        check("0 0 * * 7", "2026-11-24T00:00:00Z", &["2026-11-29T00:00:00Z"]);
        check("0 0 1 Jan ?", "2026-11-24T00:00:00Z", &["2027-01-01T00:00:00Z"]);
        check("@every 90s", "2026-11-24T00:00:00Z", &["2026-11-24T00:01:30Z"]);
    }

    #[test]
    fn what_never_comes_ends_and_what_cannot_be_read_is_refused() {
        let never = Schedule::parse("0 0 30 2 *").unwrap();
        assert_eq!(never.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC), None);
        for bad in ["", "* * * *", "60 * * * *", "* * * * 8", "*/0 * * * *", "5-1 * * * *", "@never"] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }
}
