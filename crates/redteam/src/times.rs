//! Times as tools write them. One that is no time of this age is none: no date is invented.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use model::Timestamp;

/// How tools write times without saying in which zone; they are taken as UTC.
const SHAPES: &[&str] = &[
    "%a, %d %b %Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%Y-%m-%d %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
];

/// Reads a time.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }

    let exact = text.parse::<jiff::Timestamp>().ok();
    exact.or_else(|| civil(text)).and_then(of_this_age)
}

/// Reads a time that is counted in seconds since 1970.
pub(crate) fn from_seconds(text: &str) -> Option<Timestamp> {
    let seconds = text.trim().parse().ok()?;
    of_this_age(jiff::Timestamp::from_second(seconds).ok()?)
}

fn civil(text: &str) -> Option<jiff::Timestamp> {
    // `Mon Jan 05 10:00:00 UTC 2026`: the name of a zone says no offset by itself.
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = match words[..] {
        [day, month, number, time, zone, year]
            if zone.bytes().all(|byte| byte.is_ascii_alphabetic()) =>
        {
            format!("{day} {month} {number} {time} {year}")
        }
        _ => words.join(" "),
    };
    let shaped = |shape: &&str| strtime::parse(*shape, &text).ok()?.to_datetime().ok();
    let time = SHAPES.iter().find_map(shaped);
    let time = time.or_else(|| text.parse::<DateTime>().ok())?;
    Some(
        TimeZone::UTC
            .to_ambiguous_zoned(time)
            .compatible()
            .ok()?
            .timestamp(),
    )
}

/// 2000 to 2100.
fn of_this_age(at: jiff::Timestamp) -> Option<Timestamp> {
    let seconds = at.as_second();
    let is_sane = (946_684_800..4_102_444_800).contains(&seconds);
    is_sane.then(|| Timestamp::from_micros(at.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_tools_write() {
        let at = |text| read(text).map(|at| at.to_string());
        let ten = Some("2026-01-05T10:00:00Z".to_owned());

        assert_eq!(at("2026-01-05T10:00:00Z"), ten);
        assert_eq!(at("2026-01-05T11:00:00+01:00"), ten);
        assert_eq!(at("Mon, 5 Jan 2026 10:00:00"), ten);
        assert_eq!(at("Mon Jan 05 10:00:00 UTC 2026"), ten);
        assert_eq!(at("Mon Jan  5 10:00:00 2026"), ten);
        assert_eq!(at("2026-01-05 10:00:00"), ten);
        assert_eq!(from_seconds("1767607200").map(|at| at.to_string()), ten);
    }

    #[test]
    fn invents_none() {
        for text in [
            "",
            "0000-00-00T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "Thu Jan  1 01:00:00 1970",
            "0001-01-01T00:00:00Z",
            "yesterday",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
