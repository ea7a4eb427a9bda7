use proptest::prelude::*;

use super::*;

#[test]
fn parses_the_forms_that_producers_send() {
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-05T14:07:31.250Z", 1_772_719_651_250_000),
        ("2026-03-05 14:07:31.25+00", 1_772_719_651_250_000),
        ("2026-03-05T15:07:31.25+01:00", 1_772_719_651_250_000),
        ("2026-03-05T09:07:31.2500009-0500", 1_772_719_651_250_000),
        ("2024-02-29t00:00:00z", 1_709_164_800_000_000),
    ] {
        assert_eq!(Timestamp::parse(text), Ok(Timestamp(micros)), "{text}");
    }
}

#[test]
fn refuses_what_is_no_time_and_says_why() {
    use TimestampError::{NoZone, Range, Shape};
    for (text, error) in [
        ("", Shape),
        ("yesterday", Shape),
        ("2026-03-05", Shape),
        ("2026-03-05T14:07:31", NoZone),
        ("2026-02-29T00:00:00Z", Range),
        ("2026-13-01T00:00:00Z", Range),
        ("2026-03-05T24:00:00Z", Range),
        ("2026-03-05T14:07:31.Z", Shape),
        ("2026-03-05T14:07:31+99:00", Range),
        ("2026-03-05T14:07:31Zulu", Shape),
    ] {
        assert_eq!(Timestamp::parse(text), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn agrees_with_jiff(micros in -62_000_000_000_000_000_i64..250_000_000_000_000_000) {
        let at = Timestamp(micros);
        prop_assert_eq!(Timestamp::parse(&at.to_string()), Ok(at));
    }

    #[test]
    fn never_panics(text in "\\PC{0,40}") {
        let _ = Timestamp::parse(&text);
        let _ = text.parse::<Span>();
    }

    #[test]
    fn spans_survive_their_text(micros in 0_i64..10_000_000_000_000) {
        prop_assert_eq!(Span(micros).to_string().parse::<Span>(), Ok(Span(micros)));
    }
}

fn calendar(hours: BusinessHours) -> Calendar {
    Calendar::new(hours).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

#[test]
fn a_weekend_is_one_off_hours_period() {
    let mut calendar = calendar(BusinessHours::default());
    let weekend = Period {
        open: false,
        start: at("2026-03-06T19:00:00Z"),
        end: at("2026-03-09T07:00:00Z"),
    };

    for inside in [
        "2026-03-06T19:00:00Z",
        "2026-03-07T12:00:00Z",
        "2026-03-09T06:59:59.999Z",
    ] {
        assert_eq!(calendar.period(at(inside)), weekend, "{inside}");
    }

    let monday = Period {
        open: true,
        start: at("2026-03-09T07:00:00Z"),
        end: at("2026-03-09T19:00:00Z"),
    };

    assert_eq!(calendar.period(at("2026-03-09T07:00:00Z")), monday);
    assert_eq!(calendar.period(at("2026-03-09T18:59:59Z")), monday);
}

#[test]
fn holidays_and_time_zones_count() {
    let mut calendar = calendar(BusinessHours {
        time_zone: "America/New_York".to_owned(),
        holidays: vec!["2026-11-26".parse().unwrap()],
        ..BusinessHours::default()
    });

    let thanksgiving = calendar.period(at("2026-11-26T15:00:00Z"));
    assert_eq!(
        thanksgiving,
        Period {
            open: false,
            start: at("2026-11-26T00:00:00Z"),
            end: at("2026-11-27T12:00:00Z")
        }
    );
}

#[test]
fn no_working_day_at_all_is_one_endless_period() {
    let mut calendar = calendar(BusinessHours {
        days: vec![],
        ..BusinessHours::default()
    });

    let period = calendar.period(at("2026-03-09T12:00:00Z"));
    assert_eq!(
        (period.open, period.start, period.end),
        (false, Timestamp::MIN, Timestamp::MAX)
    );
}

#[test]
fn a_time_is_shown_in_the_readers_zone_with_utc_beside_it() {
    let at = Timestamp::parse("2026-11-29T03:47:55.855416Z").unwrap();
    let clock = |zone: &str| WallClock::of_zone(zone).unwrap();

    assert_eq!(
        clock("America/New_York").minutes(at),
        "2026-11-28 22:47 EST (2026-11-29 03:47 UTC)"
    );
    assert_eq!(
        clock("Europe/Berlin").seconds(at),
        "2026-11-29 04:47:55 CET (03:47:55 UTC)"
    );
    assert_eq!(clock("UTC").minutes(at), "2026-11-29 03:47 UTC");
    assert_eq!(WallClock::of_zone("Mars/Base"), None);
}
