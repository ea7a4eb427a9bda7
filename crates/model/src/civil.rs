//! Times as logs write them: a date and a time of day, with or without a word on the zone.

use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::time::{Span, Timestamp, days_from_civil, days_in_month};

/// English month names as logs shorten them.
const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The number of a month's short name.
pub fn month(name: &[u8]) -> Option<i64> {
    MONTHS.iter().position(|m| *m == name).map(|i| i as i64 + 1)
}

/// Digits as a number; none when anything else is among them, or nothing is.
pub fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0, |n, c| {
        c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0'))
    })
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    /// 60 in a leap second.
    pub second: i64,
    pub micros: i64,
}

impl Civil {
    /// What a clock in Greenwich shows.
    pub fn of_utc(at: Timestamp) -> Self {
        let civil = TimeZone::UTC.to_datetime(at.to_jiff());
        Self {
            year: civil.year().into(),
            month: civil.month().into(),
            day: civil.day().into(),
            hour: civil.hour().into(),
            minute: civil.minute().into(),
            second: civil.second().into(),
            micros: at.as_micros().rem_euclid(1_000_000),
        }
    }

    /// The point in time that it is `offset` seconds east of Greenwich; none when there is no such
    /// day or time.
    pub fn at_offset(self, offset: i64) -> Option<Timestamp> {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros,
        } = self;

        let exists = (0..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..=60).contains(&second)
            && (0..1_000_000).contains(&micros);
        let secs = exists.then(|| {
            days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
        })?;

        Some(Timestamp::from_secs(secs).plus(Span::micros(micros)))
    }

    /// The point in time that it is in a zone. A time that a zone skips or has twice is taken as
    /// clocks would have shown it first.
    pub fn in_zone(self, zone: &Zone) -> Option<Timestamp> {
        self.readings(zone).map(|readings| readings.first)
    }

    /// Returns the points in time that it may be in a zone: two in the hour that clocks show twice
    /// when daylight saving ends.
    pub fn readings(self, zone: &Zone) -> Option<Readings> {
        let utc = self.at_offset(0)?;
        let Some(zone) = &zone.0 else {
            return Some(utc.into());
        };

        let civil = TimeZone::UTC.to_datetime(utc.to_jiff());
        let ambiguous = zone.to_ambiguous_timestamp(civil);
        let is_fold = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
        let micros = |at: jiff::Timestamp| Timestamp::from_micros(at.as_microsecond());
        let second = ambiguous.later().ok().filter(|_| is_fold).map(micros);

        Some(Readings {
            first: micros(ambiguous.compatible().ok()?),
            second,
        })
    }

    /// Returns the points in time that it may be with a zone's abbreviation: of the configured zone
    /// where that has it, otherwise what the abbreviation means in North America, Europe or the
    /// only other place that uses it. `None` for an unknown one.
    pub fn readings_abbreviated(self, abbreviation: &str, zone: &Zone) -> Option<Readings> {
        let readings = self.readings(zone)?;
        let is_of = |at: Timestamp| zone.abbreviation(at) == abbreviation;
        match (
            is_of(readings.first),
            readings.second.map(|at| (at, is_of(at))),
        ) {
            (true, Some((_, true))) => Some(readings),
            (true, _) => Some(readings.first.into()),
            (false, Some((second, true))) => Some(second.into()),
            (false, _) => self
                .at_offset(abbreviation_offset(abbreviation)?)
                .map(Readings::from),
        }
    }
}

/// The points in time that a clock may have meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readings {
    /// The only one, or the earlier of two.
    pub first: Timestamp,
    /// The later of two.
    pub second: Option<Timestamp>,
}

impl From<Timestamp> for Readings {
    fn from(at: Timestamp) -> Self {
        Self {
            first: at,
            second: None,
        }
    }
}

/// Returns how many seconds east of Greenwich a zone's abbreviation is. Only those that mean one
/// zone, or one in North America, where others share them; the rest needs a configured zone.
pub fn abbreviation_offset(abbreviation: &str) -> Option<i64> {
    let quarters = match abbreviation {
        "UTC" | "GMT" | "Z" | "WET" => 0,
        "BST" | "CET" | "WEST" | "WAT" => 4,
        "CEST" | "EET" | "SAST" | "CAT" => 8,
        "EEST" | "MSK" | "EAT" => 12,
        "PKT" => 20,
        "WIB" => 28,
        "AWST" | "HKT" => 32,
        "JST" | "KST" => 36,
        "ACST" => 38,
        "AEST" => 40,
        "ACDT" => 42,
        "AEDT" => 44,
        "NZST" => 48,
        "NZDT" => 52,
        "NST" => -14,
        "NDT" => -10,
        "AST" => -16,
        "ADT" => -12,
        "EST" => -20,
        "EDT" | "CLT" => -16,
        "CST" => -24,
        "CDT" => -20,
        "MST" => -28,
        "MDT" => -24,
        "PST" => -32,
        "PDT" => -28,
        "AKST" => -36,
        "AKDT" => -32,
        "HST" => -40,
        _ => return None,
    };

    Some(quarters * 900)
}

/// The zone of times that name none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone(Option<TimeZone>);

impl Zone {
    /// Greenwich.
    pub const UTC: Self = Self(None);

    /// By its IANA name, such as `America/New_York`; none when there is no such zone.
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("utc") {
            return Some(Self::UTC);
        }
        TimeZone::get(name).ok().map(|zone| Self(Some(zone)))
    }

    /// Returns what the zone calls itself at a time, such as `EST`.
    fn abbreviation(&self, at: Timestamp) -> String {
        match &self.0 {
            None => "UTC".to_owned(),
            Some(zone) => zone.to_offset_info(at.to_jiff()).abbreviation().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Civil = Civil {
        year: 2026,
        month: 7,
        day: 4,
        hour: 12,
        minute: 0,
        second: 0,
        micros: 5,
    };

    #[test]
    fn a_zone_says_what_time_it_was() {
        let at = |civil: Civil, zone: &str| {
            civil
                .in_zone(&Zone::named(zone).unwrap())
                .unwrap()
                .to_string()
        };

        assert_eq!(at(NOON, "UTC"), "2026-07-04T12:00:00.000005Z");
        assert_eq!(at(NOON, "America/New_York"), "2026-07-04T16:00:00.000005Z");
        assert_eq!(
            at(Civil { month: 1, ..NOON }, "America/New_York"),
            "2026-01-04T17:00:00.000005Z"
        );
        assert_eq!(
            NOON.at_offset(7200).unwrap().to_string(),
            "2026-07-04T10:00:00.000005Z"
        );

        assert_eq!(Zone::named("Mars/Olympus"), None);
    }

    #[test]
    fn what_does_not_exist_is_no_time() {
        for wrong in [
            Civil {
                day: 31,
                month: 6,
                ..NOON
            },
            Civil { month: 13, ..NOON },
            Civil { hour: 24, ..NOON },
            Civil {
                day: 29,
                month: 2,
                ..NOON
            },
            Civil { second: 61, ..NOON },
        ] {
            assert_eq!(wrong.at_offset(0), None);
        }

        assert_eq!(
            (
                digits(b"007"),
                digits(b"7a"),
                digits(b""),
                month(b"Dec"),
                month(b"dec")
            ),
            (Some(7), None, None, Some(12), None)
        );
    }
}
