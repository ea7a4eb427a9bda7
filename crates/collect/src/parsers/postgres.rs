//! PostgreSQL's own log, `jsonlog` or `csvlog`: refused and accepted logins, refused access, and
//! schema changes. An application cannot suppress it.

use model::civil::{Civil, Readings, Zone};
use model::event::{Details, Provenance, UserId};
use model::sql::{condensed, is_schema_change, logged, statements};
use model::{Category, Outcome, SecurityEvent, Source, Text, Timestamp};
use serde_json::{Map, Value};

use super::{EntryRules, Format, LineId, LineParser, ParseContext, Parsed};
use crate::json;
use crate::sequence::Line;
use crate::text::{Object, add_named_origin, parse_pid, without_padding};

pub(super) const FORMAT: Format = Format {
    name: "postgres",
    description: "PostgreSQL's log as jsonlog or csvlog: logins, refused access, schema \
        changes",
    source: Source::Postgres,
    entry_rules: Some(EntryRules {
        is_entry_start,
        continues: Some(continues),
        is_certain_start: Some(is_row_head),
        quotes: None,
    }),
    parser: |context: ParseContext| Box::new(Postgres { zone: context.zone }),
};

/// Bytes of a message or a statement that are kept.
const TEXT_MAX: usize = 1024;
/// Bytes of the words of a longer statement that are kept, as what it does may stand at its end.
const WORDS_MAX: usize = 64 * 1024;

/// Returns whether a line begins a JSON object, which is one line, or a row of CSV, which begins
/// with its time and whose texts may hold newlines.
fn is_entry_start(line: &[u8]) -> bool {
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

/// Returns whether a quotation mark is open after a line: clients choose statements and the names
/// in them, which may hold newlines.
fn continues(before: Option<usize>, line: &[u8]) -> bool {
    if before.is_none() && without_padding(line).starts_with(b"{") {
        return false;
    }
    // A quotation mark within a text is doubled.
    let odd = memchr::memchr_iter(b'"', line).count() % 2 == 1;
    odd != before.is_some()
}

/// Returns whether a line is the beginning of a row of CSV, up to its message, and cannot be text
/// within a quoted field: there every quotation mark is doubled, so none opens a field. A row of
/// which a crash or a full disk took the end leaves such a field open.
fn is_row_head(line: &[u8]) -> bool {
    const FIELDS_BEFORE_MESSAGE: usize = 13;
    if !is_entry_start(line) || line.starts_with(b"{") {
        return false;
    }

    let mut rest = line;
    for place in 0..FIELDS_BEFORE_MESSAGE {
        let (field, after) = match rest.strip_prefix(b"\"") {
            Some(quoted) => match quoted_end(quoted) {
                Some(end) => (&quoted[..end], &quoted[end + 1..]),
                None => return false,
            },
            None => rest.split_at(memchr::memchr(b',', rest).unwrap_or(rest.len())),
        };
        let is_plain = !rest.starts_with(b"\"");
        let is_right = match place {
            // The process, its session, the number of the line in it, and the severity.
            3 | 6 => is_plain && !field.is_empty() && field.iter().all(u8::is_ascii_digit),
            5 => is_plain && memchr::memchr(b'.', field).is_some(),
            11 => is_plain && !field.is_empty() && field.iter().all(u8::is_ascii_uppercase),
            12 => is_plain && field.len() == 5,
            // User, database, client and status are quoted, or missing.
            1 | 2 | 4 | 7 => !is_plain || field.is_empty(),
            _ => is_plain,
        };
        match (is_right, after.strip_prefix(b",")) {
            (true, Some(next)) => rest = next,
            _ => return false,
        }
    }

    // The message: its marks are even in number at the beginning where they stand within a text.
    let marks = rest.iter().take_while(|c| **c == b'"').count();
    let ends_rightly = || match quoted_end(&rest[1..]) {
        Some(end) => rest.get(end + 2).is_none_or(|c| *c == b','),
        None => true,
    };
    marks % 2 == 1 && ends_rightly()
}

/// Returns the offset of the mark that ends a quoted field.
fn quoted_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr(b'"', text.get(at..)?)?;
        if text.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

struct Postgres {
    zone: Zone,
}

/// The columns of a message that matter to security.
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
    /// What the process was doing.
    status: String,
    pid: Option<u32>,
    /// Whether its end is missing.
    is_cut: bool,
}

impl LineParser for Postgres {
    fn parse<'a>(&self, entry: &'a [u8], id: LineId) -> Parsed<'a> {
        self.read(entry, id).parsed
    }

    fn read<'a>(&self, entry: &'a [u8], id: LineId) -> Line<'a> {
        let rejected = |why: &str| Parsed::Rejected(why.to_owned()).into();
        let entry = without_padding(entry).trim_ascii();
        let message = match entry.first() {
            None => return Parsed::Nothing.into(),
            // The end of an entry with a long statement may be missing; what matters comes before.
            Some(b'{') => {
                let whole = json::parse_object(entry);
                let is_cut = whole.is_none();
                match whole.or_else(|| json::parse_beginning(entry)) {
                    Some(object) => Message {
                        is_cut,
                        ..message_from_json(&object)
                    },
                    None => return rejected("not a JSON object"),
                }
            }
            Some(_) => match message_from_csv(entry) {
                Some(message) => message,
                None => return rejected("neither a JSON object nor a row of csvlog"),
            },
        };

        match self.parse_time(&message.time) {
            Ok(at) => {
                let class = classify_message(&message);
                let event = class.map(|class| class.into_event(at.first, &message, id));
                Line::at(event.map_or(Parsed::Nothing, Parsed::Event), Some(at))
            }
            Err(why) => rejected(why),
        }
    }
}

impl Postgres {
    /// Parses `2026-03-04 10:00:00.123 UTC`. An abbreviation that the configured zone does not use
    /// has its usual meaning.
    fn parse_time(&self, text: &str) -> Result<Readings, &'static str> {
        const NO_TIME: &str = "no time at its beginning";
        let (stamp, zone) = text.rsplit_once(' ').ok_or(NO_TIME)?;
        if let Ok(at) = Timestamp::parse(&format!("{stamp}{zone}")) {
            return Ok(at.into());
        }

        let utc = Timestamp::parse(&format!("{stamp}Z")).map_err(|_| NO_TIME)?;
        Civil::of_utc(utc)
            .readings_abbreviated(zone, &self.zone)
            .ok_or("the zone of its time is not known: set the source's time_zone")
    }
}

fn message_from_json(object: &Map<String, Value>) -> Message {
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
        status: get("ps"),
        pid: object
            .get("pid")
            .and_then(Value::as_u64)
            .and_then(|pid| u32::try_from(pid).ok()),
        is_cut: false,
    }
}

/// Splits a row of CSV into its fields, and undoubles quotation marks. The last field may be cut
/// off.
fn csv_fields(row: &[u8]) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut at = 0;
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

/// Reads the columns of csvlog as of PostgreSQL 15 (their order has not changed since 9.0; new ones
/// are appended).
fn message_from_csv(row: &[u8]) -> Option<Message> {
    let mut fields = csv_fields(row)?;
    // The row must reach the message; the end of one with a long statement may be missing.
    if fields.len() < 14 {
        return None;
    }

    let columns = fields.len();
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
        status: take(7),
        pid: parse_pid(take(3).as_bytes()),
        // The message is not the last column of a whole row.
        is_cut: columns == 14,
    })
}

/// What kind of event a message is.
struct Classification {
    category: Category,
    action: &'static str,
    result: Outcome,
    /// The table or other object that it is about.
    object: Option<String>,
}

/// Returns the words of the first of the logged statements that changes the schema or privileges.
/// Comments and other statements may stand before it.
fn schema_change(text: &str) -> Option<Vec<String>> {
    statements(text)
        .into_iter()
        .find(|words| is_schema_change(words))
}

/// Returns the name of the object that a statement changes.
fn object_of(words: &[String]) -> Option<String> {
    const OTHERS: [&str; 20] = [
        "if",
        "exists",
        "not",
        "only",
        "table",
        "trigger",
        "function",
        "role",
        "user",
        "index",
        "view",
        "schema",
        "or",
        "replace",
        "on",
        "column",
        "temporary",
        "temp",
        "unlogged",
        "materialized",
    ];
    words
        .iter()
        .skip(1)
        .find(|word| !OTHERS.contains(&word.as_str()))
        .cloned()
}

/// Returns whether a message says, in any language, that a connection was authorized: `WORDS=USER
/// …` of a process that authenticates. `connection authenticated` has the user in quotation marks.
fn is_authorized(m: &Message) -> bool {
    let after = m.message.split_once('=').map(|(_, after)| after);
    let names_user = after
        .and_then(|after| after.strip_prefix(m.user.as_str()))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    m.state == "00000" && m.status == "authentication" && !m.user.is_empty() && names_user
}

/// Returns whether a message is the one of blueteam's trigger: `SCHEMA.TABLE is append-only: DELETE
/// refused`. A text that an application stored could hold the words, and an error quotes such
/// texts.
fn is_refusal(message: &str) -> bool {
    let Some((table, refused)) = message.split_once(" is append-only: ") else {
        return false;
    };
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$');
    !table.is_empty()
        && table.chars().all(is_name)
        && matches!(
            refused,
            "UPDATE refused" | "DELETE refused" | "TRUNCATE refused"
        )
}

/// Returns whether a statement changes or removes rows. What raises in a query or an INSERT is an
/// application's own check, which a stranger's input may fail.
fn changes_rows(statement: &str) -> bool {
    statements(statement).iter().any(|words| {
        let verbs = ["update", "delete", "truncate", "merge"];
        let first = words.first().map_or("", String::as_str);
        verbs.contains(&first) || (first == "with" && words.iter().any(|w| verbs.contains(&&**w)))
    })
}

fn classify_message(m: &Message) -> Option<Classification> {
    let quoted = || m.message.split('"').nth(1).map(str::to_owned);
    match m.state.as_str() {
        // invalid_password, invalid_authorization_specification
        "28P01" | "28000" => {
            return Some(Classification {
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
            return Some(Classification {
                category: Category::Data,
                action: "permission_denied",
                result: Outcome::Denied,
                object,
            });
        }
        _ => {}
    }

    if m.message.starts_with("connection authorized: ") || is_authorized(m) {
        return Some(Classification {
            category: Category::Auth,
            action: "login",
            result: Outcome::Success,
            object: None,
        });
    }

    // What stands behind the cut of a logged statement may be a change, so it counts as one that
    // cannot be judged.
    let change = logged(&m.message).and_then(schema_change);
    if change.is_some() || (m.is_cut && logged(&m.message).is_some()) {
        return Some(Classification {
            category: Category::Admin,
            action: "schema_change",
            result: Outcome::Success,
            object: change.as_deref().and_then(object_of),
        });
    }

    // The trigger of an append-only table raises this for a refused change.
    if m.severity == "ERROR"
        && m.state == "P0001"
        && !m.statement.is_empty()
        && (is_refusal(&m.message) || changes_rows(&m.statement))
    {
        return Some(Classification {
            category: Category::Data,
            action: "write_refused",
            result: Outcome::Denied,
            object: quoted(),
        });
    }

    matches!(m.severity.as_str(), "PANIC" | "FATAL").then(|| Classification {
        category: Category::System,
        action: "database_error",
        result: Outcome::Failure,
        object: None,
    })
}

impl Classification {
    fn into_event(self, at: Timestamp, m: &Message, id: LineId) -> SecurityEvent<'static> {
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
        event.ip_address = model::address::single(&m.host);
        event.provenance = Some(Box::new(Provenance {
            program: Some("postgres".into()),
            pid: m.pid,
            ..Provenance::default()
        }));

        // FATAL: … for user "x" names the attempted role when there is no session with a role.
        let user = if m.user.is_empty() {
            m.message.split('"').nth(1).unwrap_or_default().to_owned()
        } else {
            m.user.clone()
        };
        if !user.is_empty() {
            let name = Text::from(user.replace('\0', "\u{fffd}"));
            if action != "login_failed" {
                event.user_id = Some(UserId::Name(name.clone()));
            }
            event.account_name = Some(name);
        }

        event.user_agent = (!m.application.is_empty())
            .then(|| Text::from(truncate_text(&m.application, 200).replace('\0', "\u{fffd}")));
        event.resource_type = Some("postgresql".into());
        event.resource_id =
            object.map(|o| Text::from(truncate_text(&o, 200).replace('\0', "\u{fffd}")));

        let mut details = Object::with_capacity(256);
        details
            .text_field("severity", m.severity.as_bytes())
            .text_field("state", m.state.as_bytes())
            .text_field("database", m.database.as_bytes())
            .text_field("message", truncate_text(&m.message, TEXT_MAX).as_bytes());
        add_statement(&mut details, m, action);

        // With `log_hostname` the host is a name instead of an address; a socket's `[local]` is
        // neither, and counts for the machine of the database.
        if matches!(action, "login_failed" | "login") && event.ip_address.is_none() {
            match &*m.host {
                "" => {}
                "[local]" => {
                    details.text_field("origin", b"local connections");
                }
                name => add_named_origin(&mut details, name.as_bytes()),
            }
        }

        event.details = Details::from_json(details.finish());
        event.classify()
    }
}

/// Adds the statement of a message. Rules judge it, so of a long one the words are kept: the client
/// chooses how many comments and values stand before what matters.
fn add_statement(details: &mut Object, m: &Message, action: &str) {
    let of_message = logged(&m.message).filter(|_| action == "schema_change");
    let (words, is_cut) = match of_message {
        _ if m.statement.len() > TEXT_MAX => condensed(&m.statement, WORDS_MAX, |_| true),
        Some(logged) if m.message.len() > TEXT_MAX => {
            condensed(logged, WORDS_MAX, is_schema_change)
        }
        _ => (m.statement.clone(), false),
    };

    if !words.is_empty() {
        details.text_field("statement", words.as_bytes());
    }
    if is_cut || (m.is_cut && of_message.is_some()) {
        let length = m.message.len().max(m.statement.len());
        details.number_field("unjudged_after", length.to_string().as_bytes());
    }
}

fn truncate_text(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests;
