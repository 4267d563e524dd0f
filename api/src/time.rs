//! Instants as the API writes them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// An instant, RFC 3339 in UTC with exactly six fractional digits.
///
/// Clients differ in what they accept (one takes only three or six digits), so one precision is used everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(jiff::Timestamp);

impl Time {
    /// The present instant, cut to microseconds.
    pub fn now() -> Self {
        jiff::Timestamp::now().into()
    }

    /// Microseconds since the Unix epoch.
    pub fn as_micros(self) -> i64 {
        self.0.as_microsecond()
    }

    /// From microseconds since the Unix epoch; an instant outside the calendar becomes the epoch.
    pub fn from_micros(micros: i64) -> Self {
        Self(jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// The underlying timestamp.
    pub fn timestamp(self) -> jiff::Timestamp {
        self.0
    }

    /// Seconds from `earlier` to `self`; negative when `earlier` is later.
    pub fn seconds_since(self, earlier: Time) -> f64 {
        (self.as_micros() - earlier.as_micros()) as f64 / 1e6
    }
}

impl From<jiff::Timestamp> for Time {
    fn from(at: jiff::Timestamp) -> Self {
        Self::from_micros(at.as_microsecond())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl std::str::FromStr for Time {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(Self::from)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_six_digits_and_reads_any() {
        let at: Time = "2026-03-14T21:31:57.855138999Z".parse().unwrap();
        assert_eq!(at.to_string(), "2026-03-14T21:31:57.855138Z");
        let whole: Time = "2026-03-14T21:31:57+00:00".parse().unwrap();
        assert_eq!(serde_json::to_string(&whole).unwrap(), "\"2026-03-14T21:31:57.000000Z\"");
    }
}
