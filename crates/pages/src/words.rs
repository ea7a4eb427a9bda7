//! What many pages show: times, severities, counts.

use std::fmt;

use jiff::tz::TimeZone;
use model::{Severity, Timestamp};

/// The time zone in which a reader sees times.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of this IANA name; UTC where there is none of it.
    pub fn named(name: &str) -> Self {
        Self(TimeZone::get(name).unwrap_or(TimeZone::UTC))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

/// A time: in the reader's zone, with UTC for the pointer, for print and for programs.
#[derive(Clone, Debug)]
pub struct When {
    at: Timestamp,
    zone: Zone,
    /// How long ago, or in what time, in words.
    distance: String,
}

impl When {
    /// A time as a reader of this zone sees it at `now`.
    pub fn new(at: Timestamp, zone: &Zone, now: Timestamp) -> Self {
        Self {
            at,
            zone: zone.clone(),
            distance: distance(at, now),
        }
    }
}

/// How far `at` is from `now`, in the largest unit that says enough.
fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_micros() - at.as_micros()) / 1_000_000;
    let (past, seconds) = (seconds >= 0, seconds.unsigned_abs());
    let (number, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    if past {
        format!("{number} {unit} ago")
    } else {
        format!("in {number} {unit}")
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zoned = self.at.to_jiff().to_zoned(self.zone.0.clone());
        let utc = self.at.to_jiff().to_zoned(TimeZone::UTC);
        write!(
            f,
            "<time datetime=\"{}\" title=\"{} UTC, {}\">{}</time>",
            utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
            utc.strftime("%Y-%m-%d %H:%M:%S"),
            self.distance,
            zoned.strftime("%Y-%m-%d %H:%M:%S"),
        )
    }
}

// Made of digits and fixed words alone.
impl askama::filters::HtmlSafe for When {}

/// A severity or risk: a word with a shape and a color, so that none of them says it alone (WCAG
/// 1.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    word: &'static str,
    shape: &'static str,
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        let (word, shape) = match severity {
            Severity::Critical => ("critical", "\u{25b2}"),
            Severity::High => ("high", "\u{25c6}"),
            Severity::Medium => ("medium", "\u{25cf}"),
            Severity::Low => ("low", "\u{25cb}"),
            Severity::Info => ("info", "\u{25cb}"),
        };
        Self { word, shape }
    }
}

impl Level {
    /// The word.
    pub const fn word(&self) -> &'static str {
        self.word
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, shape } = self;
        write!(
            f,
            "<span class=\"level {word}\"><span aria-hidden=\"true\">{shape}</span> {word}</span>"
        )
    }
}

// Made of fixed words alone.
impl askama::filters::HtmlSafe for Level {}

/// A number with the noun that it counts: `1 alert`, `1,204 alerts`.
pub fn count_of(number: u64, noun: &str) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let plural = if number == 1 { "" } else { "s" };
    format!("{grouped} {noun}{plural}")
}

/// Something that someone did.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: When,
    /// From which phase to which.
    pub what: String,
    /// Who.
    pub who: String,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_readers_zone_with_utc_beside() {
        let at = Timestamp::parse("2026-07-01T12:00:00Z").unwrap();
        let now = Timestamp::parse("2026-07-01T12:30:00Z").unwrap();
        let shown = When::new(at, &Zone::named("America/New_York"), now).to_string();
        assert_eq!(
            shown,
            "<time datetime=\"2026-07-01T12:00:00Z\" title=\"2026-07-01 12:00:00 UTC, 30 min ago\">\
             2026-07-01 08:00:00</time>"
        );
        assert_eq!(Zone::named("No/Where").name(), "UTC");
    }

    #[test]
    fn a_count_has_its_noun() {
        assert_eq!(count_of(1, "alert"), "1 alert");
        assert_eq!(count_of(0, "alert"), "0 alerts");
        assert_eq!(count_of(1_204_000, "event"), "1,204,000 events");
    }
}
