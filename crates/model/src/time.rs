//! Points and lengths of time, business hours, and the clock as an argument.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: microseconds since 1970-01-01T00:00:00Z, which is PostgreSQL's resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Why a text is not a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// The shape is wrong.
    #[error("is not an RFC 3339 time such as 2026-03-05T14:07:31.250Z")]
    Shape,
    /// A field is out of its range.
    #[error("names a day or time that does not exist")]
    Range,
    /// Without an offset a time says nothing.
    #[error("has no time zone; end it with Z or an offset such as +01:00")]
    NoZone,
}

impl Timestamp {
    /// The earliest value, before every event.
    pub const MIN: Self = Self(i64::MIN / 4);
    /// The latest value, after every event.
    pub const MAX: Self = Self(i64::MAX / 4);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// From seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000_000)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This time plus a length, saturating.
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// This time minus a length, saturating.
    pub const fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// How much later this is than `earlier`; negative when it is earlier.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// As a jiff timestamp; out-of-range values are clamped.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// Parses RFC 3339, and PostgreSQL's variants of it (a space for the `T`, an offset without
    /// minutes).
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let b = text.as_bytes();
        let num = |at: usize, len: usize| -> Result<i64, TimestampError> {
            let mut value = 0;
            for &c in b.get(at..at + len).ok_or(TimestampError::Shape)? {
                if !c.is_ascii_digit() {
                    return Err(TimestampError::Shape);
                }
                value = value * 10 + i64::from(c - b'0');
            }
            Ok(value)
        };
        // Of a known length, so that no place in it needs to be checked.
        let head: &[u8; 19] = b.first_chunk().ok_or(TimestampError::Shape)?;
        let marks = (head[4], head[7], head[10], head[13], head[16]);
        let mut odd = !matches!(marks, (b'-', b'-', b'T' | b't' | b' ', b':', b':'));
        let mut two = |at: usize| {
            let (tens, ones) = (head[at].wrapping_sub(b'0'), head[at + 1].wrapping_sub(b'0'));
            odd |= tens > 9 || ones > 9;
            i64::from(tens) * 10 + i64::from(ones)
        };
        let (year, month, day) = (two(0) * 100 + two(2), two(5), two(8));
        let (hour, minute, second) = (two(11), two(14), two(17));
        if odd {
            return Err(TimestampError::Shape);
        }
        if !(1..=12).contains(&month)
            || day < 1
            || day > days_in_month(year, month)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return Err(TimestampError::Range);
        }
        let (micros, at) = parse_fraction(b, 19)?;
        let offset = offset_secs(&b[at..], at, &num)?;
        let secs = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
            - offset;
        Ok(Self(secs * 1_000_000 + micros))
    }
}

/// The digits after a decimal point as microseconds, and where they end.
fn parse_fraction(b: &[u8], start: usize) -> Result<(i64, usize), TimestampError> {
    if b.get(start) != Some(&b'.') {
        return Ok((0, start));
    }

    let (mut micros, mut scale, mut at) = (0, 100_000, start + 1);
    while let Some(c) = b.get(at).filter(|c| c.is_ascii_digit()) {
        micros += i64::from(c - b'0') * scale;
        scale /= 10;
        at += 1;
    }

    if at == start + 1 {
        Err(TimestampError::Shape)
    } else {
        Ok((micros, at))
    }
}

/// The offset from UTC in seconds.
fn offset_secs(
    rest: &[u8],
    at: usize,
    num: &impl Fn(usize, usize) -> Result<i64, TimestampError>,
) -> Result<i64, TimestampError> {
    let sign = match rest {
        [] => return Err(TimestampError::NoZone),
        b"Z" | b"z" => return Ok(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return Err(TimestampError::Shape),
    };

    let hours = num(at + 1, 2)?;
    let minutes = match rest.len() {
        3 => 0,
        5 => num(at + 3, 2)?,
        6 if rest[3] == b':' => num(at + 4, 2)?,
        _ => return Err(TimestampError::Shape),
    };

    if hours > 18 || minutes > 59 {
        return Err(TimestampError::Range);
    }

    Ok(sign * (hours * 3600 + minutes * 60))
}

pub(crate) const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (years 0 to 9999).
pub(crate) const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_jiff(), f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::Text::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// A length of time in microseconds. Written as text with a unit: `5m`, `1h 30m`, `250ms`, `14d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From microseconds.
    pub const fn micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds.
    pub const fn millis(millis: i64) -> Self {
        Self(millis * 1000)
    }

    /// From seconds.
    pub const fn secs(secs: i64) -> Self {
        Self(secs * 1_000_000)
    }

    /// From minutes.
    pub const fn mins(mins: i64) -> Self {
        Self::secs(mins * 60)
    }

    /// From hours.
    pub const fn hours(hours: i64) -> Self {
        Self::secs(hours * 3600)
    }

    /// From days of 24 hours.
    pub const fn days(days: i64) -> Self {
        Self::secs(days * 86_400)
    }

    /// In microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// As a standard duration; a negative span is zero.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(if self.0 < 0 { 0 } else { self.0 as u64 })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (86_400_000_000, "d"),
            (3_600_000_000, "h"),
            (60_000_000, "m"),
            (1_000_000, "s"),
            (1000, "ms"),
            (1, "µs"),
        ];

        let mut rest = self.0.unsigned_abs();
        if rest == 0 {
            return f.write_str("0s");
        }

        if self.0 < 0 {
            f.write_str("-")?;
        }

        let mut first = true;
        for (size, name) in units {
            if rest >= size {
                if !first {
                    f.write_str(" ")?;
                }
                write!(f, "{}{name}", rest / size)?;
                rest %= size;
                first = false;
            }
        }

        Ok(())
    }
}

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time; write it with a unit, such as 30s, 5m, 1h 30m or 14d")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let bad = || SpanError(text.to_owned());
        // Days count as 24 hours here; jiff refuses them in a duration because civil days vary.
        let (days, rest) = match text.split_once('d') {
            Some((days, rest))
                if days.trim().bytes().all(|b| b.is_ascii_digit()) && !days.trim().is_empty() =>
            {
                (
                    days.trim().parse::<i64>().map_err(|_| bad())?,
                    rest.trim_start_matches("ays").trim(),
                )
            }
            _ => (0, text.trim()),
        };

        let rest = if rest.is_empty() && days > 0 {
            SignedDuration::ZERO
        } else {
            rest.parse().map_err(|_| bad())?
        };

        let micros = i64::try_from(rest.as_micros()).map_err(|_| bad())?;
        days.checked_mul(86_400_000_000)
            .and_then(|d| d.checked_add(micros))
            .map(Self)
            .ok_or_else(bad)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Where "now" comes from; an argument, so that tests decide.
pub trait Clock: Send + Sync {
    /// The present.
    fn now(&self) -> Timestamp;

    /// Whether times may be judged by it, such as to refuse an event as too old.
    fn is_trusted(&self) -> bool {
        true
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }
}

/// When people are expected to be at work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusinessHours {
    /// Days of the week that are worked, as `mon` … `sun`.
    pub days: Vec<Day>,
    /// Start of the working day, `HH:MM`.
    #[serde(with = "clock_time")]
    pub start: Time,
    /// End of the working day, `HH:MM`; the day ends just before it.
    #[serde(with = "clock_time")]
    pub end: Time,
    /// IANA time zone, such as `America/New_York`.
    pub time_zone: String,
    /// Days off, `YYYY-MM-DD`.
    pub holidays: Vec<Date>,
}

impl Default for BusinessHours {
    fn default() -> Self {
        Self {
            days: vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri],
            start: Time::constant(7, 0, 0, 0),
            end: Time::constant(19, 0, 0, 0),
            time_zone: "UTC".to_owned(),
            holidays: Vec::new(),
        }
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the days")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    fn of(weekday: Weekday) -> Self {
        match weekday {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

mod clock_time {
    use jiff::civil::Time;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:02}:{:02}", time.hour(), time.minute()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad = || D::Error::custom(format!("`{text}` is not a time of day such as 07:00"));
        let (hour, minute) = text.split_once(':').ok_or_else(bad)?;

        Time::new(
            hour.parse().map_err(|_| bad())?,
            minute.parse().map_err(|_| bad())?,
            0,
            0,
        )
        .map_err(|_| bad())
    }
}

/// A business-hours setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BusinessHoursError {
    /// No such zone.
    #[error("`{0}` is not a known IANA time zone, such as America/New_York")]
    Zone(String),
    /// Start and end are the wrong way round.
    #[error("the end must be later than the start")]
    Order,
}

/// A stretch of time that is wholly inside or wholly outside business hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Whether it is business time.
    pub open: bool,
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
}

/// The time zone in which people read times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WallClock(TimeZone);

impl Default for WallClock {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl WallClock {
    /// Returns the clock of an IANA time zone, if there is one of this name.
    pub fn of_zone(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }

    /// Returns a time to the minute, with UTC beside it: `2026-11-29 03:47 EST (08:47 UTC)`.
    pub fn minutes(&self, at: Timestamp) -> String {
        self.format(at, "%H:%M")
    }

    /// Returns a time to the second, with UTC beside it: `2026-11-29 03:47:55 EST (08:47:55 UTC)`.
    pub fn seconds(&self, at: Timestamp) -> String {
        self.format(at, "%H:%M:%S")
    }

    fn format(&self, at: Timestamp, time: &str) -> String {
        let utc = at.to_jiff().to_zoned(TimeZone::UTC);
        let local = at.to_jiff().to_zoned(self.0.clone());
        if local.offset().is_zero() {
            return utc.strftime(&format!("%Y-%m-%d {time} UTC")).to_string();
        }

        let day = if local.date() == utc.date() {
            ""
        } else {
            "%Y-%m-%d "
        };
        format!(
            "{} ({})",
            local.strftime(&format!("%Y-%m-%d {time} %Z")),
            utc.strftime(&format!("{day}{time} UTC"))
        )
    }
}

/// Business hours ready to answer questions. Remembers the last period, because events come in
/// order, more or less.
#[derive(Clone, Debug)]
pub struct Calendar {
    hours: BusinessHours,
    zone: TimeZone,
    last: Option<Period>,
}

impl Calendar {
    /// Checks the setting.
    pub fn new(hours: BusinessHours) -> Result<Self, BusinessHoursError> {
        let zone = TimeZone::get(&hours.time_zone)
            .map_err(|_| BusinessHoursError::Zone(hours.time_zone.clone()))?;
        if hours.end <= hours.start {
            return Err(BusinessHoursError::Order);
        }

        Ok(Self {
            hours,
            zone,
            last: None,
        })
    }

    /// Returns the clock on the wall of the people at work.
    pub fn wall_clock(&self) -> WallClock {
        WallClock(self.zone.clone())
    }

    /// The period that holds `at`.
    pub fn period(&mut self, at: Timestamp) -> Period {
        if let Some(period) = self.last.filter(|p| p.start <= at && at < p.end) {
            return period;
        }
        let period = self.compute(at);
        self.last = Some(period);
        period
    }

    fn compute(&self, at: Timestamp) -> Period {
        let date = at.to_jiff().to_zoned(self.zone.clone()).date();
        let today = self.worked(date);
        if let Some((start, end)) = today.filter(|(start, end)| *start <= at && at < *end) {
            return Period {
                open: true,
                start,
                end,
            };
        }

        // Off hours: from the end of the last worked day to the start of the next one. A year
        // without work ends the search.
        let mut start = today.map(|(_, end)| end).filter(|end| *end <= at);
        let mut end = today.map(|(start, _)| start).filter(|start| *start > at);
        let (mut back, mut ahead) = (date, date);
        for _ in 0..366 {
            if start.is_some() && end.is_some() {
                break;
            }

            if start.is_none() {
                back = back.yesterday().unwrap_or(back);
                start = self.worked(back).map(|(_, end)| end);
            }

            if end.is_none() {
                ahead = ahead.tomorrow().unwrap_or(ahead);
                end = self.worked(ahead).map(|(start, _)| start);
            }
        }

        Period {
            open: false,
            start: start.unwrap_or(Timestamp::MIN),
            end: end.unwrap_or(Timestamp::MAX),
        }
    }

    /// The working hours of a day, when it has any.
    fn worked(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.hours.days.contains(&Day::of(date.weekday()))
            || self.hours.holidays.contains(&date)
        {
            return None;
        }
        let at = |time: Time| {
            let zoned = date.to_datetime(time).to_zoned(self.zone.clone()).ok()?;
            Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
        };
        Some((at(self.hours.start)?, at(self.hours.end)?))
    }
}

#[cfg(test)]
mod tests;
