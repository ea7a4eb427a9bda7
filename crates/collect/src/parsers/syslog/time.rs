//! Times at the head of a syslog line.

use model::civil::{Civil, Readings, Zone, abbreviation_offset, digits, month};
use model::{Span, Timestamp};

/// How far ahead of `latest` a time without a year may be. Covers clocks and zones that differ.
const AHEAD_MAX: Span = Span::days(1);

/// What gives a year and a zone to times that name none.
pub(super) struct Calendar {
    latest: Timestamp,
    /// The year of `latest`.
    year: i64,
    zone: Zone,
}

impl Calendar {
    pub(super) fn new(latest: Timestamp, zone: Zone) -> Self {
        Self {
            latest,
            year: Civil::of_utc(latest).year,
            zone,
        }
    }

    /// Splits off the time of a line, in any of the forms that senders use.
    pub(super) fn split_time<'a>(&self, line: &'a [u8]) -> Option<(Readings, &'a [u8])> {
        let line = without_weekday(line);
        match line.first()? {
            b'0'..=b'9' => self
                .split_iso(line)
                .or_else(|| split_epoch(line))
                .or_else(|| self.split_year_first(line)),
            _ => self.split_bsd(line),
        }
    }

    /// Splits off `2026-03-05T11:00:01.5+01:00 `. macOS writes `2026-03-24 08:38:42.344447-0700 `,
    /// `journalctl -o short-full` a zone's abbreviation. Without a zone it is of the configured
    /// one.
    fn split_iso<'a>(&self, line: &'a [u8]) -> Option<(Readings, &'a [u8])> {
        let date = if line.get(10) == Some(&b' ') { 11 } else { 0 };
        let end = date + memchr::memchr(b' ', line.get(date..)?)?;
        let time = std::str::from_utf8(&line[..end]).ok()?.replace(',', ".");
        let rest = line[end..].trim_ascii_start();
        if let Ok(at) = Timestamp::parse(&time) {
            return Some((at.into(), rest));
        }

        let civil = Civil::of_utc(Timestamp::parse(&format!("{time}Z")).ok()?);
        let (readings, rest) = self.with_zone_word(civil, rest);
        Some((readings?, rest))
    }

    /// Splits off `2015 Nov 13 13:40:01 `.
    fn split_year_first<'a>(&self, line: &'a [u8]) -> Option<(Readings, &'a [u8])> {
        let (year, rest) = split_word(line)?;
        let year = parse_year(year)?;
        let (civil, rest) = split_bsd_fields(rest)?;
        let (readings, rest) = self.with_zone_word(Civil { year, ..civil }, rest);
        Some((readings?, rest))
    }

    /// Splits off `Mar 27 13:06:56 `: with or without a year, a fraction and a zone, a padded day,
    /// and the colon and the mark for an unsynchronized clock of Cisco's devices.
    fn split_bsd<'a>(&self, line: &'a [u8]) -> Option<(Readings, &'a [u8])> {
        let line = match line {
            [b'*' | b'.', rest @ ..] => rest,
            _ => line,
        };

        let (civil, rest) = split_bsd_fields(line)?;

        // `logread` of OpenWrt puts the year after the time.
        let with_year = split_word(rest).and_then(|(word, rest)| Some((parse_year(word)?, rest)));
        let (civil, rest) = match with_year {
            Some((year, rest)) if civil.year == 0 => (Civil { year, ..civil }, rest),
            _ => (civil, rest),
        };

        let (readings, rest) = if civil.year == 0 {
            self.with_zone_word(self.with_year(civil)?, rest)
        } else {
            self.with_zone_word(civil, rest)
        };
        Some((readings?, rest))
    }

    /// Gives a time the latest year in which it is not in the future.
    fn with_year(&self, civil: Civil) -> Option<Civil> {
        // February 29 belongs to the last leap year.
        (self.year - 8..=self.year + 1)
            .rev()
            .map(|year| Civil { year, ..civil })
            .find(|civil| {
                civil
                    .in_zone(&self.zone)
                    .is_some_and(|at| at <= self.latest.plus(AHEAD_MAX))
            })
    }

    /// Splits off the abbreviation of a zone, if there is one, and returns the time in it.
    fn with_zone_word<'a>(&self, civil: Civil, rest: &'a [u8]) -> (Option<Readings>, &'a [u8]) {
        let named = split_word(rest).and_then(|(word, after)| {
            let name = std::str::from_utf8(word.strip_suffix(b":").unwrap_or(word)).ok()?;
            let is_zone = word.ends_with(b":") || matches!(name, "UTC" | "GMT");
            let offset = abbreviation_offset(name).filter(|_| is_zone)?;
            Some((civil.at_offset(offset)?, after))
        });

        match named {
            Some((at, after)) => (Some(at.into()), after),
            None => (civil.readings(&self.zone), rest),
        }
    }
}

/// Splits off `Thu ` or `Thu, `.
fn without_weekday(line: &[u8]) -> &[u8] {
    const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    let rest = match line.split_at_checked(3) {
        Some((day, rest)) if DAYS.contains(&day) => rest,
        _ => return line,
    };
    let rest = rest.strip_prefix(b",").unwrap_or(rest);
    rest.strip_prefix(b" ")
        .map_or(line, <[u8]>::trim_ascii_start)
}

/// Splits off `Mar 27 [2026 ]13:06:56[.123][:] `. The year is 0 where there is none.
fn split_bsd_fields(line: &[u8]) -> Option<(Civil, &[u8])> {
    let (name, rest) = split_word(line)?;
    let month = month(name)?;
    let (day, rest) = split_word(rest.trim_ascii_start())?;
    let (word, after) = split_word(rest)?;
    let (year, clock, rest) = match parse_year(word) {
        Some(year) => {
            let (clock, rest) = split_word(after)?;
            (year, clock, rest)
        }
        None => (0, word, after),
    };

    let clock = clock.strip_suffix(b":").unwrap_or(clock);
    let (clock, fraction) = clock.split_at(clock.len().min(8));
    let [h1, h2, b':', n1, n2, b':', s1, s2] = clock else {
        return None;
    };
    let two = |a: &u8, b: &u8| digits(&[*a, *b]);
    let civil = Civil {
        year,
        month,
        day: digits(day).filter(|_| day.len() <= 2)?,
        hour: two(h1, h2)?,
        minute: two(n1, n2)?,
        second: two(s1, s2)?,
        micros: parse_fraction(fraction)?,
    };

    Some((civil, rest))
}

/// Parses `.123` or nothing as microseconds.
fn parse_fraction(text: &[u8]) -> Option<i64> {
    match text {
        [] => Some(0),
        [b'.' | b',', fraction @ ..] if fraction.iter().all(u8::is_ascii_digit) => {
            let six = &fraction[..fraction.len().min(6)];
            Some(digits(six)? * 10_i64.pow(6 - six.len() as u32))
        }
        _ => None,
    }
}

fn parse_year(word: &[u8]) -> Option<i64> {
    digits(word).filter(|year| word.len() == 4 && (1970..=9999).contains(year))
}

/// Splits off seconds since 1970 with or without a fraction, as `journalctl -o short-unix` writes
/// them.
fn split_epoch(line: &[u8]) -> Option<(Readings, &[u8])> {
    let (word, rest) = split_word(line)?;
    let whole = &word[..memchr::memchr(b'.', word).unwrap_or(word.len())];
    let secs = digits(whole).filter(|_| (9..=11).contains(&whole.len()))?;
    let micros = parse_fraction(&word[whole.len()..])?;
    let at = Timestamp::from_secs(secs).plus(Span::micros(micros));
    Some((at.into(), rest.trim_ascii_start()))
}

/// Splits off the next word and the space after it.
pub(super) fn split_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', text)?;
    Some((&text[..end], &text[end + 1..]))
}
