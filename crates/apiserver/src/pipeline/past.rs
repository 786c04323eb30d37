//! Moments of the past: how a request names one, and which revision that is.
//!
//! `10m`, `1h30m` and `2d` are that long ago; `2026-11-23T03:12:00Z` is a time; `r1234` is a revision of the store.
//! A request about the past carries the revision in its context ([`super::RequestContext::at`]): get and list then
//! read that state, and everything else is refused.

use api::status::{Details, Reason, Status};
use jiff::{SignedDuration, Timestamp};
use store::{ReadError, Revision};

use super::Pipeline;
use super::list::{expired, too_large};
use super::options::shortened;
use super::types::Answer;

/// A moment of the past that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// The newest revision of that moment.
    pub revision: u64,
    /// The moment; of a revision, when it was written.
    pub time: Timestamp,
}

#[derive(Debug, PartialEq)]
enum Moment {
    Time(Timestamp),
    Revision(u64),
}

impl Pipeline {
    /// Finds a moment of the past.
    pub async fn past(&self, text: &str, now: Timestamp) -> Answer<Past> {
        let store = &self.inner.store;
        match parse(text, now)? {
            Moment::Time(time) if time > now => {
                Err(Status::bad_request(format!("{} is in the future", shortened(text))))
            }
            Moment::Time(time) => {
                let found = store.revision_at(store::Timestamp(time.as_microsecond())).await;
                let revision = found.map_err(|error| self.unreachable(&error))?.0;
                Ok(Past { revision, time })
            }
            Moment::Revision(revision) => {
                let found = store.snapshot_at(Revision(revision)).await;
                let written = found.map_err(|error| self.unreachable(&error))?.written();
                let time = Timestamp::from_microsecond(written.0).unwrap_or(now);
                Ok(Past { revision, time })
            }
        }
    }

    /// Why a state of the past cannot be read.
    pub(super) fn unreachable(&self, error: &ReadError) -> Status {
        match error {
            ReadError::Compacted { .. } => {
                let (oldest, since) = self.inner.store.reaches_back_to();
                let since = Timestamp::from_microsecond(since.0).unwrap_or_default();
                expired(&format!("the history begins at {since} (revision {oldest})"))
            }
            ReadError::Future { asked, newest } => too_large(asked.0, newest.0),
            other => Status::internal(other.to_string()),
        }
    }
}

/// The past is not written to, and does not change.
pub(crate) fn read_only() -> Status {
    Status::failure(
        Reason::MethodNotAllowed,
        "this is the past: objects can be read and listed, nothing else",
    )
    .with_details(Details::default())
}

fn parse(text: &str, now: Timestamp) -> Answer<Moment> {
    if let Some(revision) = text.strip_prefix('r').and_then(|number| number.parse().ok()) {
        return Ok(Moment::Revision(revision));
    }
    if let Ok(time) = text.parse() {
        return Ok(Moment::Time(time));
    }
    match ago(text).and_then(|ago| now.checked_sub(SignedDuration::from_secs(ago)).ok()) {
        Some(time) => Ok(Moment::Time(time)),
        None => Err(Status::bad_request(format!(
            "{:?} is no moment: give how long ago (10m, 1h30m, 2d), a time (2026-11-23T03:12:00Z) or a revision (r1234)",
            shortened(text)
        ))),
    }
}

/// The seconds of a length of time, as `1h30m`.
fn ago(text: &str) -> Option<i64> {
    let mut seconds: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 24 * 3600,
            b'w' => 7 * 24 * 3600,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_lengths_of_time_times_and_revisions() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a time");
        let time = |text: &str| Moment::Time(text.parse().expect("a time"));
        for (text, expected) in [
            ("10m", time("2026-11-24T11:50:00Z")),
            ("1h30m", time("2026-11-24T10:30:00Z")),
            ("2d", time("2026-11-22T12:00:00Z")),
            ("0s", time("2026-11-24T12:00:00Z")),
            ("2026-11-23T03:12:00Z", time("2026-11-23T03:12:00Z")),
            ("2026-11-23T04:12:00+01:00", time("2026-11-23T03:12:00Z")),
            ("r42", Moment::Revision(42)),
        ] {
            assert_eq!(parse(text, now).expect(text), expected, "{text}");
        }
        for text in
            ["", "10", "m", "10y", "r", "rx", "yesterday", "99999999999999999999s", "9999999999w", "1é"]
        {
            assert_eq!(parse(text, now).expect_err(text).code, 400, "{text}");
        }
    }
}
