//! Days as people give them.

use model::{Clock as _, Span, SystemClock, Timestamp};

/// A day in the future or the past: `2027-01-31` (to its end, UTC), a time with its zone, or a
/// length of time from now (30d).
pub(super) fn day(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    if text.len() == "2027-01-31".len() && text.parse::<jiff::civil::Date>().is_ok() {
        return Timestamp::parse(&format!("{text}T23:59:59Z")).map_err(|_| describe_wrong(text));
    }
    if let Ok(length) = text.parse::<Span>() {
        return Ok(SystemClock.now().plus(length));
    }
    Timestamp::parse(text).map_err(|_| describe_wrong(text))
}

fn describe_wrong(text: &str) -> String {
    format!(
        "`{}` is no day: write 2027-01-31, a time with its zone (2027-01-31T12:00:00Z), or a \
            length of time from now (30d)",
        model::text::sanitize(text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_given_in_three_ways_and_no_other() {
        assert_eq!(
            day("2027-01-31").unwrap(),
            Timestamp::parse("2027-01-31T23:59:59Z").unwrap()
        );
        assert_eq!(
            day("2027-01-31T00:00:00+02:00").unwrap(),
            Timestamp::parse("2027-01-30T22:00:00Z").unwrap()
        );

        assert!(day("30d").unwrap() > SystemClock.now().plus(Span::days(29)));
        for wrong in [
            "tomorrow",
            "2027-02-30",
            "31.01.2027",
            "",
            "2027-01-31T00:00:00",
        ] {
            assert!(
                day(wrong).unwrap_err().contains("write 2027-01-31"),
                "{wrong}"
            );
        }
    }
}
