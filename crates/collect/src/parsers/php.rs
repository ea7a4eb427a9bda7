//! PHP's error log (`error_log`), WordPress's `debug.log`, and Laravel's log: entries of one line
//! or of a whole stack trace.

use memchr::memmem;
use model::civil::{Civil, Zone, digits, month};
use model::event::Details;
use model::{Category, Outcome, SecurityEvent, Source, Timestamp};

use super::{Format, LineId, LineParser, Lines, Parsed};
use crate::text::{Object, text, without_padding};

pub(super) const FORMAT: Format = Format {
    name: "php",
    description: "PHP error logs, with stack traces; also WordPress's and Laravel's",
    source: Source::PhpError,
    lines: Some(Lines {
        begins,
        goes_on: None,
    }),
    parser: |reference| {
        Box::new(Php {
            zone: reference.zone,
        })
    },
};

/// What is kept of a message.
const MESSAGE_MAX: usize = 1024;

fn begins(line: &[u8]) -> bool {
    matches!(without_padding(line), [b'[', b'0'..=b'9', b'0'..=b'9', ..])
}

struct Php {
    zone: Zone,
}

impl LineParser for Php {
    fn parse<'a>(&self, entry: &'a [u8], id: LineId) -> Parsed<'a> {
        let entry = without_padding(entry);
        if entry.trim_ascii().is_empty() {
            return Parsed::Nothing;
        }

        let stamped = begins(entry)
            .then(|| memchr::memchr(b']', &entry[..entry.len().min(64)]))
            .flatten()
            .and_then(|end| Some((self.time(&entry[1..end])?, entry[end + 1..].trim_ascii())));
        let Some((at, message)) = stamped else {
            return Parsed::Rejected("no [day-month-year time zone] at its beginning".to_owned());
        };
        Parsed::Event(event(at, message, id))
    }
}

impl Php {
    /// `05-Jun-2018 07:30:16 Europe/Paris`, or Laravel's `2018-06-05 07:30:16` with or without
    /// more.
    fn time(&self, stamp: &[u8]) -> Option<Timestamp> {
        if let [
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
        {
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

            let named = str::from_utf8(zone.trim_ascii())
                .ok()
                .filter(|z| !z.is_empty())
                .and_then(Zone::named);
            return civil.in_zone(named.as_ref().unwrap_or(&self.zone));
        }
        let stamp = str::from_utf8(stamp).ok()?;
        Timestamp::parse(stamp).ok().or_else(|| {
            // Without a zone: as if in UTC, then as clocks there showed it.
            let utc = Timestamp::parse(&format!("{}Z", stamp.get(..19)?)).ok()?;
            Civil::of_utc(utc).in_zone(&self.zone)
        })
    }
}

/// `PHP Fatal error:  …` or `production.ERROR: …`: the level, and the message after it.
fn level(message: &[u8]) -> (&[u8], &[u8]) {
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

/// File and line where it happened: ` in FILE:LINE` or ` in FILE on line LINE`.
fn place(first: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = &first[memmem::rfind(first, b" in ")? + 4..];
    let (file, line) = if let Some(at) = memmem::rfind(rest, b" on line ") {
        (&rest[..at], &rest[at + 9..])
    } else {
        let colon = memchr::memrchr(b':', rest)?;
        (&rest[..colon], &rest[colon + 1..])
    };
    digits(line).map(|_| (file, line))
}

fn event(at: Timestamp, message: &[u8], id: LineId) -> SecurityEvent<'_> {
    let (level, message) = level(message);
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

    let action = if first.starts_with(b"AuditLogger") {
        // The application says that it cannot write its audit trail.
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
        .text("level", level)
        .text("message", &first[..first.len().min(MESSAGE_MAX)]);

    if let Some((file, line)) = place(first) {
        event.resource_id = Some(text(&file[..file.len().min(1024)]));
        details.number("line", line);
    }

    let frames = message
        .split(|c| *c == b'\n')
        .filter(|l| matches!(l.trim_ascii_start(), [b'#', b'0'..=b'9', ..]))
        .count();
    if frames > 0 {
        details.number("frames", frames.to_string().as_bytes());
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

    fn read(entry: &str) -> String {
        match (Php { zone: Zone::UTC }).parse(entry.as_bytes(), ID) {
            Parsed::Event(e) => {
                let place = e.resource_id.as_deref().unwrap_or("-");
                format!(
                    "{} {} {:?} {place} {}",
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
    fn reads_what_php_writes() {
        for (entry, expected) in [
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
        ] {
            assert_eq!(read(entry), expected, "{entry}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(entry in "\\[05-Jun-2018 07:30:16 UTC\\] \
            \\PC{0,80}", raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let php = Php { zone: Zone::UTC };
            let _ = (php.parse(entry.as_bytes(), ID), php.parse(&raw, ID), begins(&raw));
        }
    }
}
