//! PostgreSQL's own log, `jsonlog` or `csvlog`: refused and accepted logins, refused access, and
//! changes of the schema. It is the witness that an application cannot silence.

use std::net::IpAddr;

use model::civil::{Civil, Zone};
use model::event::{Details, UserId};
use model::{Category, Outcome, SecurityEvent, Source, Text, Timestamp};
use serde_json::{Map, Value};

use super::{Format, LineId, LineParser, Lines, Parsed, Reference};
use crate::json;
use crate::text::{Object, named_origin, without_padding};

pub(super) const FORMAT: Format = Format {
    name: "postgres",
    description: "PostgreSQL's log as jsonlog or csvlog: logins, refused access, changes of the \
        schema",
    source: Source::Postgres,
    lines: Some(Lines {
        begins,
        goes_on: Some(goes_on),
    }),
    parser: |reference: Reference| {
        Box::new(Postgres {
            zone: reference.zone,
        })
    },
};

/// What is kept of a message or a statement.
const TEXT_MAX: usize = 1024;

/// A JSON object is a line; a row of CSV begins with its time, and its texts may hold newlines.
fn begins(line: &[u8]) -> bool {
    match without_padding(line) {
        [b'{', ..] => true,
        [y @ .., _] if line.len() > 23 => {
            y[..4].iter().all(u8::is_ascii_digit)
                && y[4] == b'-'
                && y[7] == b'-'
                && y[10] == b' '
                && y[13] == b':'
        }
        _ => false,
    }
}

/// Whether a quotation mark is open after a line: statements, and the names in them, are the
/// client's words, and hold newlines.
fn goes_on(before: Option<usize>, line: &[u8]) -> bool {
    if before.is_none() && without_padding(line).starts_with(b"{") {
        return false;
    }
    // A quotation mark within a text is doubled.
    let odd = memchr::memchr_iter(b'"', line).count() % 2 == 1;
    odd != before.is_some()
}

struct Postgres {
    zone: Zone,
}

/// The columns of a message that say something to us.
#[derive(Default)]
struct Message {
    time: String,
    user: String,
    database: String,
    host: String,
    severity: String,
    state: String,
    message: String,
    statement: String,
    application: String,
}

impl LineParser for Postgres {
    fn parse<'a>(&self, entry: &'a [u8], id: LineId) -> Parsed<'a> {
        let entry = without_padding(entry).trim_ascii();
        let message = match entry.first() {
            None => return Parsed::Nothing,
            // A long statement may have cost the entry its end, and comes after what matters.
            Some(b'{') => match json::object(entry).or_else(|| json::beginning(entry)) {
                Some(object) => of_json(&object),
                None => return Parsed::Rejected("no JSON object".to_owned()),
            },
            Some(_) => match of_csv(entry) {
                Some(message) => message,
                None => {
                    return Parsed::Rejected(
                        "neither a JSON object nor a row of csvlog".to_owned(),
                    );
                }
            },
        };

        match self.time(&message.time) {
            Some(at) => meaning(&message).map_or(Parsed::Nothing, |meaning| {
                Parsed::Event(meaning.event(at, message, id))
            }),
            None => Parsed::Rejected("no time at its beginning".to_owned()),
        }
    }
}

impl Postgres {
    /// `2026-03-04 10:00:00.123 UTC`. Of abbreviations only UTC's are unequivocal; for others the
    /// configured zone holds.
    fn time(&self, text: &str) -> Option<Timestamp> {
        let (stamp, zone) = text.rsplit_once(' ')?;
        if let Ok(at) = Timestamp::parse(&format!("{stamp}{zone}")) {
            return Some(at);
        }

        let utc = Timestamp::parse(&format!("{stamp}Z")).ok()?;
        let civil = Civil::of_utc(utc);
        if matches!(zone, "UTC" | "GMT" | "Z") {
            Some(utc)
        } else {
            civil.in_zone(&self.zone)
        }
    }
}

fn of_json(object: &Map<String, Value>) -> Message {
    let get = |key: &str| {
        object
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };

    Message {
        time: get("timestamp"),
        user: get("user"),
        database: get("dbname"),
        host: get("remote_host"),
        severity: get("error_severity"),
        state: get("state_code"),
        message: get("message"),
        statement: get("statement"),
        application: get("application_name"),
    }
}

/// The fields of a row of CSV, quotation marks doubled within them. The last one may be cut off.
fn fields(row: &[u8]) -> Option<Vec<String>> {
    let (mut fields, mut at) = (Vec::new(), 0);
    loop {
        let mut field = Vec::new();
        if row.get(at) == Some(&b'"') {
            at += 1;
            loop {
                let Some(length) = memchr::memchr(b'"', row.get(at..)?) else {
                    field.extend_from_slice(&row[at..]);
                    at = row.len();
                    break;
                };

                field.extend_from_slice(&row[at..at + length]);
                at += length + 1;
                if row.get(at) != Some(&b'"') {
                    break;
                }

                field.push(b'"');
                at += 1;
            }
        } else {
            let end = memchr::memchr(b',', &row[at..]).map_or(row.len(), |i| at + i);
            field.extend_from_slice(&row[at..end]);
            at = end;
        }

        fields.push(String::from_utf8_lossy(&field).into_owned());
        match row.get(at) {
            None => return Some(fields),
            Some(b',') => at += 1,
            Some(_) => return None,
        }
    }
}

/// csvlog's columns, as PostgreSQL 15 and later have them (their order has not changed since 9.0;
/// new ones are appended).
fn of_csv(row: &[u8]) -> Option<Message> {
    let mut fields = fields(row)?;
    // Up to the message at least: a long statement may have cost the row its end.
    if fields.len() < 14 {
        return None;
    }

    let mut take = |i: usize| fields.get_mut(i).map(std::mem::take).unwrap_or_default();
    // `connection_from` is an address with its port, or `[local]`.
    let from = take(4);
    let host = from
        .rsplit_once(':')
        .map_or(from.as_str(), |(host, _)| host)
        .to_owned();

    Some(Message {
        time: take(0),
        user: take(1),
        database: take(2),
        host,
        severity: take(11),
        state: take(12),
        message: take(13),
        statement: take(19),
        application: take(22),
    })
}

/// What a message means to security.
struct Meaning {
    category: Category,
    action: &'static str,
    result: Outcome,
    /// What it was about.
    object: Option<String>,
}

/// The words that follow `word` in a statement, as far as they are a name.
fn object_of(statement: &str) -> Option<String> {
    let mut words = statement.split_whitespace().skip(1).filter(|w| {
        ![
            "IF", "EXISTS", "NOT", "ONLY", "TABLE", "TRIGGER", "FUNCTION", "ROLE", "USER", "INDEX",
            "VIEW", "SCHEMA", "OR", "REPLACE",
        ]
        .contains(&w.to_ascii_uppercase().as_str())
    });

    words.next().map(|w| {
        w.trim_matches(|c| matches!(c, ';' | '(' | ')' | ','))
            .to_owned()
    })
}

/// Whether a logged statement changes the schema or who may do what.
fn changes_schema(statement: &str) -> bool {
    let first = statement
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    matches!(
        first.as_str(),
        "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "GRANT" | "REVOKE" | "REASSIGN" | "SECURITY"
    )
}

fn meaning(m: &Message) -> Option<Meaning> {
    let quoted = || m.message.split('"').nth(1).map(str::to_owned);
    match m.state.as_str() {
        // invalid_password, invalid_authorization_specification
        "28P01" | "28000" => {
            return Some(Meaning {
                category: Category::Auth,
                action: "login_failed",
                result: Outcome::Failure,
                object: None,
            });
        }
        // insufficient_privilege
        "42501" => {
            let object = m
                .message
                .rsplit_once(' ')
                .map(|(_, object)| object.trim_matches('"').to_owned());
            return Some(Meaning {
                category: Category::Data,
                action: "permission_denied",
                result: Outcome::Denied,
                object,
            });
        }
        _ => {}
    }
    if m.message.starts_with("connection authorized: ") {
        return Some(Meaning {
            category: Category::Auth,
            action: "login",
            result: Outcome::Success,
            object: None,
        });
    }
    let logged = ["statement: ", "execute <unnamed>: "]
        .iter()
        .find_map(|prefix| m.message.strip_prefix(prefix));
    if let Some(statement) = logged.filter(|s| changes_schema(s)) {
        let object = object_of(statement);
        return Some(Meaning {
            category: Category::Admin,
            action: "schema_change",
            result: Outcome::Success,
            object,
        });
    }
    // A refused change of an append-only table: the trigger raises this.
    if m.severity == "ERROR"
        && (m.message.contains("append-only") || m.state == "P0001")
        && !m.statement.is_empty()
    {
        return Some(Meaning {
            category: Category::Data,
            action: "write_refused",
            result: Outcome::Denied,
            object: quoted(),
        });
    }
    matches!(m.severity.as_str(), "PANIC" | "FATAL").then(|| Meaning {
        category: Category::System,
        action: "database_error",
        result: Outcome::Failure,
        object: None,
    })
}

impl Meaning {
    fn event(self, at: Timestamp, m: Message, id: LineId) -> SecurityEvent<'static> {
        let Self {
            category,
            action,
            result,
            object,
        } = self;
        let mut event = SecurityEvent::new(
            id.event_id(at),
            at,
            Source::Postgres,
            category,
            action.into(),
            result,
        );
        event.ip_address = m.host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        // FATAL: … for user "x": the role that was tried, when no session has one.
        let user = if m.user.is_empty() {
            m.message.split('"').nth(1).unwrap_or_default().to_owned()
        } else {
            m.user
        };
        if !user.is_empty() {
            let name = Text::from(user.replace('\0', "\u{fffd}"));
            if action != "login_failed" {
                event.user_id = Some(UserId::Name(name.clone()));
            }
            event.account_name = Some(name);
        }
        event.user_agent = (!m.application.is_empty())
            .then(|| Text::from(cut(&m.application, 200).replace('\0', "\u{fffd}")));
        event.resource_type = Some("postgresql".into());
        event.resource_id = object.map(|o| Text::from(cut(&o, 200).replace('\0', "\u{fffd}")));
        let mut details = Object::with_capacity(256);
        details
            .text("severity", m.severity.as_bytes())
            .text("state", m.state.as_bytes());
        details
            .text("database", m.database.as_bytes())
            .text("message", cut(&m.message, TEXT_MAX).as_bytes());
        if !m.statement.is_empty() {
            details.text("statement", cut(&m.statement, TEXT_MAX).as_bytes());
        }
        // With `log_hostname` there is a name in place of the address; a socket's `[local]` is
        // neither.
        if action == "login_failed"
            && event.ip_address.is_none()
            && !matches!(&*m.host, "" | "[local]")
        {
            named_origin(&mut details, m.host.as_bytes());
        }
        event.details = Details::from_json(details.finish());
        event.classify()
    }
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
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
        match (Postgres { zone: Zone::UTC }).parse(entry.as_bytes(), ID) {
            Parsed::Event(e) => format!(
                "{} {} {} {} {}",
                e.timestamp,
                e.action,
                e.account_name.as_deref().unwrap_or("-"),
                e.ip_address.map_or("-".to_owned(), |ip| ip.to_string()),
                e.resource_id.as_deref().unwrap_or("-"),
            ),
            Parsed::Nothing => "nothing".to_owned(),
            Parsed::Rejected(why) => format!("rejected: {why}"),
        }
    }

    #[test]
    fn reads_both_kinds_of_log() {
        for (entry, expected) in [
            (
                r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"eqmon","dbname":"eqmon","remote_host":"192.0.2.7","error_severity":"FATAL","state_code":"28P01","message":"password authentication failed for user \"eqmon\""}"#,
                "2026-03-04T10:00:00.123Z login_failed eqmon 192.0.2.7 -",
            ),
            (
                r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"eqmon","remote_host":"[local]","error_severity":"ERROR","state_code":"42501","message":"permission denied for table audit_events","statement":"DELETE FROM audit_events"}"#,
                "2026-03-04T10:00:00.123Z permission_denied eqmon - audit_events",
            ),
            (
                r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"postgres","error_severity":"LOG","message":"statement: DROP TRIGGER guard ON public.audit_events"}"#,
                "2026-03-04T10:00:00.123Z schema_change postgres - guard",
            ),
            (
                "2026-03-04 10:00:00.123 \
                    UTC,\"x\",\"db\",77,\"192.0.2.7:5432\",65e.1,1,\"authentication\",2026-03-04 \
                    10:00:00 UTC,3/1,0,FATAL,28P01,\"password authentication failed for user \
                    \"\"x\"\"\",,,,,,\"a\nb\",,,\"psql\",\"client backend\",,0",
                "2026-03-04T10:00:00.123Z login_failed x 192.0.2.7 -",
            ),
            (
                r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","error_severity":"LOG","message":"checkpoint complete"}"#,
                "nothing",
            ),
            ("{", "rejected: no JSON object"),
            (r#"{"message":"x"}"#, "rejected: no time at its beginning"),
            ("a,b", "rejected: neither a JSON object nor a row of csvlog"),
        ] {
            assert_eq!(read(entry), expected, "{entry}");
        }
    }

    #[test]
    fn a_row_begins_with_its_time() {
        assert!(begins(b"2026-03-04 10:00:00.123 UTC,\"x\""));
        assert!(!begins(b"SELECT '2026-03-04 10:00:00.123 UTC'"));
        assert!(!begins(b"2026-03-04"));
    }

    /// One row of csvlog with a user and a statement of whoever.
    fn row(user: &str, statement: &str) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        format!(
            "2026-03-04 10:00:00.123 \
                UTC,{},\"db\",77,\"203.0.113.9:5432\",65e.1,1,\"x\",2026-03-04 10:00:00 \
                UTC,3/1,0,FATAL,28P01,\"no\",,,,,,{},,,\"psql\",\"client backend\",,0",
            quoted(user),
            quoted(statement),
        )
    }

    #[test]
    fn a_cut_entry_is_read_as_far_as_it_goes() {
        let whole = row("x", &"SELECT 1; ".repeat(100));
        assert_eq!(
            read(&whole[..whole.len() - 400]),
            "2026-03-04T10:00:00.123Z login_failed x 203.0.113.9 -"
        );

        assert_eq!(
            read(
                r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"x","remote_host":"192.0.2.7","state_code":"28P01","statement":"S"#
            ),
            "2026-03-04T10:00:00.123Z login_failed x 192.0.2.7 -"
        );
    }

    #[test]
    fn a_client_with_a_name_counts_by_it() {
        let csv = row("x", "").replace("203.0.113.9:5432", "Evil.Example:5432");
        let json = |host: &str| {
            format!(
                r#"{{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"x","remote_host":"{host}","state_code":"28P01"}}"#
            )
        };

        for (entry, expected) in [
            (csv, Some("evil.example")),
            (json("evil.example"), Some("evil.example")),
            (json("evil.example."), Some("evil.example")),
            (json("192.0.2.7"), None),
            (json("[local]"), None),
            (json(""), None),
        ] {
            let parsed = Postgres { zone: Zone::UTC };
            let Parsed::Event(event) = parsed.parse(entry.as_bytes(), ID) else {
                panic!("{entry}")
            };
            assert_eq!(event.details.text("origin").as_deref(), expected, "{entry}");
        }
    }

    proptest! {
        /// Whatever is in a statement, and in the name that is tried: as many entries as the server
        /// wrote, each as it wrote it.
        #[test]
        fn no_client_forges_or_hides_a_row(
            texts in proptest::collection::vec(
                ("(\\PC{0,5}|\"|\n|,|\\{){0,5}", "(\\PC{0,9}|\"|\n|,\"\"|\n2026-03-04 \
                    10:00:00.123 UTC,\"y\",\"db\",1,\"9.9.9.9:1\",1,1,|\n\\{\"a\":1\\}){0,6}"),
                1..5,
            ),
        ) {
            let log: String = texts.iter().map(|(user, statement)| row(user, statement) + "\n").collect();
            let mut entries = crate::entries::Entries::of(&FORMAT);
            let mut complete = entries.push(log.trim_end_matches('\n').split('\n').map(|line| (ID, line.as_bytes())));
            complete.extend(entries.finish());
            prop_assert_eq!(complete.len(), texts.len(), "{}", log);

            let parser = Postgres { zone: Zone::UTC };
            for (_, entry) in &complete {
                let Parsed::Event(event) = parser.parse(entry, ID) else { panic!("{}", String::from_utf8_lossy(entry)) };
                prop_assert_eq!(event.ip_address, Some(std::net::Ipv4Addr::new(203, 0, 113, 9).into()));
                prop_assert_eq!(&*event.action, "login_failed");
            }
        }


        #[test]
        fn never_panics(raw in proptest::collection::vec(any::<u8>(), 0..200), tail in "\\PC{0,80}") {
            let parser = Postgres { zone: Zone::UTC };
            let _ = (parser.parse(&raw, ID), begins(&raw));
            let _ = parser.parse(format!("2026-03-04 10:00:00.123 UTC,{tail}").as_bytes(), ID);
        }
    }
}
