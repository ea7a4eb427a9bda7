//! PHP's error log (`error_log`), WordPress's `debug.log`, and Laravel's log. An entry is one line
//! or includes a stack trace.

use memchr::memmem;
use model::civil::{Civil, Readings, Zone, digits, month};
use model::event::Details;
use model::{Category, Outcome, SecurityEvent, Source, Timestamp};

use super::{EntryRules, Format, LineId, LineParser, Parsed};
use crate::sequence::Line;
use crate::text::{Object, lossy_text, without_padding};

pub(super) const FORMAT: Format = Format {
    name: "php",
    description: "PHP error logs, with stack traces; also WordPress's and Laravel's",
    source: Source::PhpError,
    entry_rules: Some(EntryRules {
        is_entry_start,
        continues: None,
        is_certain_start: None,
        quotes: None,
    }),
    parser: |reference| {
        Box::new(Php {
            zone: reference.zone,
        })
    },
};

/// Bytes of a message that are kept.
const MESSAGE_MAX: usize = 1024;

fn is_entry_start(line: &[u8]) -> bool {
    matches!(without_padding(line), [b'[', b'0'..=b'9', b'0'..=b'9', ..])
}

struct Php {
    zone: Zone,
}

impl LineParser for Php {
    fn parse<'a>(&self, entry: &'a [u8], id: LineId) -> Parsed<'a> {
        self.read(entry, id).parsed
    }

    fn read<'a>(&self, entry: &'a [u8], id: LineId) -> Line<'a> {
        let entry = without_padding(entry);
        if entry.trim_ascii().is_empty() {
            return Parsed::Nothing.into();
        }

        let stamped = is_entry_start(entry)
            .then(|| memchr::memchr(b']', &entry[..entry.len().min(64)]))
            .flatten()
            .and_then(|end| {
                Some((
                    self.parse_time(&entry[1..end])?,
                    entry[end + 1..].trim_ascii(),
                ))
            });
        let Some((at, message)) = stamped else {
            let why = "no [day-month-year time zone] at its beginning";
            return Parsed::Rejected(why.to_owned()).into();
        };
        Line::at(Parsed::Event(build_event(at.first, message, id)), Some(at))
    }
}

impl Php {
    /// Parses `05-Jun-2018 07:30:16 Europe/Paris`, or Laravel's `2018-06-05 07:30:16` with or
    /// without fraction and zone.
    fn parse_time(&self, stamp: &[u8]) -> Option<Readings> {
        let Some((civil, zone)) = split_php_stamp(stamp) else {
            let stamp = str::from_utf8(stamp).ok()?;
            if let Ok(at) = Timestamp::parse(stamp) {
                return Some(at.into());
            }
            // Without a zone: read the fields as if in UTC, then place them in the zone.
            let utc = Timestamp::parse(&format!("{}Z", stamp.get(..19)?)).ok()?;
            return Civil::of_utc(utc).readings(&self.zone);
        };

        let name = str::from_utf8(zone.trim_ascii()).ok()?;
        match Zone::named(name) {
            _ if name.is_empty() => civil.readings(&self.zone),
            Some(zone) => civil.readings(&zone),
            None => civil.readings_abbreviated(name, &self.zone),
        }
    }
}

/// Splits `05-Jun-2018 07:30:16 Europe/Paris` into time and zone.
fn split_php_stamp(stamp: &[u8]) -> Option<(Civil, &[u8])> {
    let [
        d1,
        d2,
        b'-',
        m1,
        m2,
        m3,
        b'-',
        y1,
        y2,
        y3,
        y4,
        b' ',
        clock @ ..,
    ] = stamp
    else {
        return None;
    };

    let (clock, zone) = clock.split_at_checked(8)?;
    let [h1, h2, b':', n1, n2, b':', s1, s2] = clock else {
        return None;
    };
    let civil = Civil {
        year: digits(&[*y1, *y2, *y3, *y4])?,
        month: month(&[*m1, *m2, *m3])?,
        day: digits(&[*d1, *d2])?,
        hour: digits(&[*h1, *h2])?,
        minute: digits(&[*n1, *n2])?,
        second: digits(&[*s1, *s2])?,
        micros: 0,
    };

    Some((civil, zone))
}

/// Splits `PHP Fatal error:  …` or `production.ERROR: …` into level and message.
fn split_level(message: &[u8]) -> (&[u8], &[u8]) {
    let head = &message[..message.len().min(64)];
    let Some(colon) = memmem::find(head, b": ") else {
        return (b"", message);
    };
    let (word, rest) = (&message[..colon], message[colon + 1..].trim_ascii_start());
    if let Some(level) = word.strip_prefix(b"PHP ") {
        return (level, rest);
    }

    match memchr::memrchr(b'.', word) {
        Some(dot)
            if dot > 0
                && dot + 1 < word.len()
                && word[dot + 1..].iter().all(u8::is_ascii_uppercase) =>
        {
            (&word[dot + 1..], rest)
        }
        _ => (b"", message),
    }
}

/// Returns file and line of ` in FILE:LINE` or ` in FILE on line LINE`.
fn find_location(first: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = &first[memmem::rfind(first, b" in ")? + 4..];
    let (file, line) = if let Some(at) = memmem::rfind(rest, b" on line ") {
        (&rest[..at], &rest[at + 9..])
    } else {
        let colon = memchr::memrchr(b':', rest)?;
        (&rest[..colon], &rest[colon + 1..])
    };
    digits(line).map(|_| (file, line))
}

/// Beginnings of messages by which the application reports that it cannot write its audit trail.
/// What else it says about itself is no failure.
pub(super) const AUDIT_FAILURES: [&[u8]; 6] = [
    b"AuditLogger exception",
    b"AuditLogger error",
    b"AuditLogger: cannot ",
    b"AuditLogger: could not ",
    b"AuditLogger: failed ",
    b"AuditLogger: unable ",
];

fn build_event(at: Timestamp, message: &[u8], id: LineId) -> SecurityEvent<'_> {
    let (level, message) = split_level(message);
    let first = message
        .split(|c| *c == b'\n')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let has = |word: &[u8]| memmem::find(message, word).is_some();
    let fatal = matches!(
        level,
        b"Fatal error" | b"Parse error" | b"CRITICAL" | b"ALERT" | b"EMERGENCY"
    );

    let action = if AUDIT_FAILURES.iter().any(|start| first.starts_with(start)) {
        // The application reports that it cannot write its audit trail.
        "audit_failure"
    } else if has(b"SQLSTATE[") || has(b"PDOException") || has(b"pg_query(") || has(b"SQL syntax") {
        "sql_error"
    } else if fatal || has(b"Uncaught ") {
        "php_fatal"
    } else if level.is_empty() {
        "php_log"
    } else {
        "php_error"
    };

    let minor = matches!(
        level,
        b"" | b"Notice" | b"Deprecated" | b"INFO" | b"DEBUG" | b"NOTICE"
    );
    let result = if minor && action == "php_log" {
        Outcome::Success
    } else {
        Outcome::Failure
    };

    let mut event = SecurityEvent::new(
        id.event_id(at),
        at,
        Source::PhpError,
        Category::System,
        action.into(),
        result,
    );
    event.resource_type = Some("php".into());

    let mut details = Object::with_capacity(first.len().min(MESSAGE_MAX) + 64);
    details
        .text_field("level", level)
        .text_field("message", &first[..first.len().min(MESSAGE_MAX)]);

    if let Some((file, line)) = find_location(first) {
        event.resource_id = Some(lossy_text(&file[..file.len().min(1024)]));
        details.number_field("line", line);
    }

    let frames = message
        .split(|c| *c == b'\n')
        .filter(|l| matches!(l.trim_ascii_start(), [b'#', b'0'..=b'9', ..]))
        .count();
    if frames > 0 {
        details.number_field("frames", frames.to_string().as_bytes());
    }

    event.details = Details::from_json(details.finish());
    event.classify()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: LineId = LineId {
        file: 7,
        offset: 42,
    };

    fn describe(entry: &str) -> String {
        match (Php { zone: Zone::UTC }).parse(entry.as_bytes(), ID) {
            Parsed::Event(e) => {
                let location = e.resource_id.as_deref().unwrap_or("-");
                format!(
                    "{} {} {:?} {location} {}",
                    e.timestamp,
                    e.action,
                    e.result,
                    e.details.as_json()
                )
            }
            Parsed::Nothing => "nothing".to_owned(),
            Parsed::Rejected(why) => format!("rejected: {why}"),
        }
    }

    #[test]
    fn entries_of_php_wordpress_and_laravel_are_read() {
        let cases = [
            (
                "[05-Jul-2018 07:30:16 Europe/Paris] PHP Fatal error:  Uncaught Error: x in /a \
                    b/c.php:10\nStack trace:\n#0 {main}\n  thrown in /a b/c.php on line 10",
                r#"2018-07-05T05:30:16Z php_fatal Failure /a b/c.php {"level":"Fatal error","message":"Uncaught Error: x in /a b/c.php:10","line":10,"frames":1}"#,
            ),
            (
                "[05-Jun-2018 07:30:16 UTC] PHP Notice:  Undefined index in C:\\x\\y.php on line 4",
                r#"2018-06-05T07:30:16Z php_error Failure C:\x\y.php {"level":"Notice","message":"Undefined index in C:\\x\\y.php on line 4","line":4}"#,
            ),
            (
                "[05-Jun-2018 07:30:16 UTC] AuditLogger: cannot write an event: SQLSTATE[08006]",
                r#"2018-06-05T07:30:16Z audit_failure Failure - {"level":"","message":"AuditLogger: cannot write an event: SQLSTATE[08006]"}"#,
            ),
            (
                "[05-Jun-2018 07:30:16 UTC] AuditLogger: wrote 5 events",
                r#"2018-06-05T07:30:16Z php_log Success - {"level":"","message":"AuditLogger: wrote 5 events"}"#,
            ),
            (
                "[2018-06-05 07:30:16] local.ERROR: SQLSTATE[42P01]: Undefined table \
                    {\"exception\":\"",
                r#"2018-06-05T07:30:16Z sql_error Failure - {"level":"ERROR","message":"SQLSTATE[42P01]: Undefined table {\"exception\":\""}"#,
            ),
            (
                "[05-Jun-2018 07:30:16 UTC] hello: world",
                r#"2018-06-05T07:30:16Z php_log Success - {"level":"","message":"hello: world"}"#,
            ),
            (
                "#0 {main}",
                "rejected: no [day-month-year time zone] at its beginning",
            ),
            (
                "[05-Foo-2018 07:30:16 UTC] x",
                "rejected: no [day-month-year time zone] at its beginning",
            ),
            ("", "nothing"),
        ];

        for (entry, expected) in cases {
            assert_eq!(describe(entry), expected, "{entry}");
        }
    }

    proptest! {
        /// Time and place in the file are the server's, whatever a message holds.
        #[test]
        fn no_client_dates_a_message(
            sent in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut entry = b"[05-Jun-2018 07:30:16 UTC] PHP Warning:  ".to_vec();
            entry.extend(sent.iter().filter(|c| **c != b'\n'));
            entry.extend_from_slice(b" in /w/a.php on line 7");
            let Parsed::Event(event) = (Php { zone: Zone::UTC }).parse(&entry, ID) else {
                panic!("{}", String::from_utf8_lossy(&entry))
            };
            prop_assert_eq!(event.timestamp.to_string(), "2018-06-05T07:30:16Z");
            prop_assert_eq!((event.ip_address, event.user_id, event.account_name), (None, None, None));
        }

        #[test]
        fn never_panics(
            entry in "\\[05-Jun-2018 07:30:16 UTC\\] \\PC{0,80}",
            raw in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let php = Php { zone: Zone::UTC };
            let _ = (php.parse(entry.as_bytes(), ID), php.parse(&raw, ID), is_entry_start(&raw));
        }
    }
}
