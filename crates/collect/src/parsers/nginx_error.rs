//! Error logs of nginx and Apache. Refused passwords become failed logins, all other entries errors
//! of the server.

use std::net::IpAddr;

use memchr::memmem;
use model::address::single;
use model::civil::{Civil, Zone, digits, month};
use model::event::{Details, Provenance};
use model::{Category, Outcome, SecurityEvent, Source, Timestamp};

use super::php::AUDIT_FAILURES;
use super::{EntryRules, Format, LineId, LineParser, ParseContext, Parsed, QuotedText};
use crate::sequence::Line;
use crate::text::{Object, lossy_text, parse_pid, without_padding};

mod appended;

pub(super) const FORMAT: Format = Format {
    name: "nginx_error",
    description: "error logs of nginx and Apache, entries of many lines included",
    source: Source::Nginx,
    entry_rules: Some(EntryRules {
        is_entry_start,
        continues: Some(continues),
        is_certain_start: None,
        quotes: Some(QuotedText {
            opens: opens_fastcgi,
            is_worth_forging,
            entry_max: ENTRY_MAX,
        }),
    }),
    parser: |context: ParseContext| Box::new(WebError { zone: context.zone }),
};

/// Bytes of a message that are kept.
const MESSAGE_MAX: usize = 1024;
/// The longest entry that nginx writes.
const ENTRY_MAX: usize = 2047;

fn is_entry_start(line: &[u8]) -> bool {
    let line = without_padding(line);
    nginx_stamp(line).is_some() || apache_stamp(line).is_some()
}

/// Returns whether an nginx entry about a request continues after a line. nginx writes a newline in
/// a path as it came, and the text after it must not become an entry of its own: neither does what
/// looks like the end of the entry decide where it ends, only the longest that nginx writes.
fn continues(before: Option<usize>, line: &[u8]) -> bool {
    let Some(before) = before else {
        let line = without_padding(line);
        let opening = nginx_stamp(line).and_then(|(_, rest)| parse_opening(rest));
        return opening.is_some_and(|(level, numbered, message)| {
            let of_request = numbered && !matches!(level, b"debug" | b"info" | b"notice");
            of_request && appended::continues(message, line.len())
        });
    };
    before + 1 + line.len() < ENTRY_MAX
}

/// Returns whether an entry passes on what an application wrote to FastCGI's `stderr`, and does not
/// end in its first line. nginx writes newlines in it as they came, and an application may log what
/// a client sent.
fn opens_fastcgi(line: &[u8]) -> bool {
    let line = without_padding(line);
    let opening = nginx_stamp(line).and_then(|(_, rest)| parse_opening(rest));
    opening.is_some_and(|(_, _, message)| {
        message.starts_with(FASTCGI) && !appended::has_appended(message)
    })
}

/// Returns whether an entry would accuse a client of more than an error: another format's entry
/// has no place in a file.
fn is_worth_forging(line: &[u8]) -> bool {
    let line = without_padding(line);
    nginx_stamp(line).is_none_or(|(_, rest)| {
        parse_opening(rest).is_none_or(|(_, _, message)| {
            refused_account(message).is_some()
                || is_denied(message)
                || is_audit_failure(message).is_some()
        })
    })
}

/// What precedes the output of an application.
const FASTCGI: &[u8] = b"FastCGI sent in stderr: ";

struct WebError {
    zone: Zone,
}

/// Parses `2016/10/25 14:49:34 ` and returns the rest of the line with it.
fn nginx_stamp(line: &[u8]) -> Option<(Civil, &[u8])> {
    let (stamp, rest) = line.split_at_checked(20)?;
    let [
        y1,
        y2,
        y3,
        y4,
        b'/',
        m1,
        m2,
        b'/',
        d1,
        d2,
        b' ',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
        b' ',
    ] = stamp
    else {
        return None;
    };

    let civil = Civil {
        year: digits(&[*y1, *y2, *y3, *y4])?,
        month: digits(&[*m1, *m2])?,
        day: digits(&[*d1, *d2])?,
        hour: digits(&[*h1, *h2])?,
        minute: digits(&[*n1, *n2])?,
        second: digits(&[*s1, *s2])?,
        micros: 0,
    };

    Some((civil, rest))
}

/// Parses `[Sun Jul 09 06:10:51.190799 2023] `, with or without the fraction, and returns the rest
/// of the line with it.
fn apache_stamp(line: &[u8]) -> Option<(Civil, &[u8])> {
    let inner = line.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', &inner[..inner.len().min(40)])?;
    let mut words = inner[..end].split(|c| *c == b' ').filter(|w| !w.is_empty());
    let _weekday = words.next()?;
    let name = words.next()?;
    let day = words.next()?;
    let clock = words.next()?;
    let year = words.next()?;

    let (clock, fraction) = clock.split_at_checked(8)?;
    let [h1, h2, b':', n1, n2, b':', s1, s2] = clock else {
        return None;
    };
    let mut micros = 0;
    if let Some(fraction) = fraction.strip_prefix(b".") {
        let six = fraction.get(..fraction.len().min(6))?;
        micros = digits(six)? * 10_i64.pow(6 - six.len() as u32);
    }

    let civil = Civil {
        year: digits(year)?,
        month: month(name)?,
        day: digits(day)?,
        hour: digits(&[*h1, *h2])?,
        minute: digits(&[*n1, *n2])?,
        second: digits(&[*s1, *s2])?,
        micros,
    };

    Some((civil, inner[end + 1..].trim_ascii_start()))
}

/// The fields of an entry.
struct ErrorEntry<'a> {
    at: Timestamp,
    level: &'a [u8],
    message: &'a [u8],
    client: Option<IpAddr>,
    /// Whether the client could have forged its address.
    unclear: bool,
    request: Option<&'a [u8]>,
    /// Refused passwords among the lines of the entry.
    refused: u32,
}

impl LineParser for WebError {
    fn parse<'a>(&self, entry: &'a [u8], id: LineId) -> Parsed<'a> {
        self.read(entry, id).parsed
    }

    fn read<'a>(&self, entry: &'a [u8], id: LineId) -> Line<'a> {
        let entry = without_padding(entry);
        if entry.trim_ascii().is_empty() {
            return Parsed::Nothing.into();
        }

        let stamped = nginx_stamp(entry).or_else(|| apache_stamp(entry));
        let found = stamped.and_then(|(civil, rest)| {
            let at = civil.readings(&self.zone)?;
            let error = if entry.starts_with(b"[") {
                parse_apache(at.first, rest)
            } else {
                parse_nginx(at.first, rest, entry.len())
            };
            Some((at, error?))
        });

        match found {
            Some((at, error)) => {
                let mut event = error.into_event(id);
                event.provenance = process_id(entry).map(|pid| {
                    Box::new(Provenance {
                        pid: Some(pid),
                        ..Provenance::default()
                    })
                });
                Line::at(Parsed::Event(event), Some(at))
            }
            None => Parsed::Rejected("not an entry of a web server's error log".to_owned()).into(),
        }
    }
}

/// Returns the process ID in `… [error] 54053#0: ` or `[…] [ssl:error] [pid 44570:tid 1] `. Both
/// stand before anything that a client can choose.
fn process_id(entry: &[u8]) -> Option<u32> {
    let digits_of = |text: &[u8]| {
        let end = text.iter().position(|c| !c.is_ascii_digit());
        parse_pid(&text[..end.unwrap_or(text.len())])
    };

    if let Some((_, rest)) = nginx_stamp(entry) {
        let level = memchr::memchr(b']', &rest[..rest.len().min(16)])?;
        return digits_of(rest.get(level + 2..)?);
    }
    let (_, rest) = apache_stamp(entry)?;
    let level = memchr::memchr(b']', &rest[..rest.len().min(40)])?;
    digits_of(
        rest[level + 1..]
            .trim_ascii_start()
            .strip_prefix(b"[pid ")?,
    )
}

/// Splits `[error] 54053#0: *1 MESSAGE` into level, whether it names a connection, and message.
fn parse_opening(rest: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let inner = rest.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', &inner[..inner.len().min(16)])?;
    let (level, rest) = (&inner[..end], inner.get(end + 2..)?);
    let message = rest.get(memmem::find(rest, b": ")? + 2..)?;
    match message.strip_prefix(b"*") {
        Some(numbered) => Some((
            level,
            true,
            numbered.get(memchr::memchr(b' ', numbered)? + 1..)?,
        )),
        None => Some((level, false, message)),
    }
}

/// Parses `[error] 54053#0: *1 MESSAGE, client: 192.0.2.7, server: …, request: "GET / HTTP/1.1", …`
/// of an entry of `length` bytes.
fn parse_nginx(at: Timestamp, rest: &[u8], length: usize) -> Option<ErrorEntry<'_>> {
    let (level, numbered, message) = parse_opening(rest)?;
    let first_line = message.split(|c| *c == b'\n').next().unwrap_or_default();
    let own_refusal = u32::from(refused_account(message).is_some());
    let unclear = |refused| ErrorEntry {
        at,
        level,
        message: first_line,
        client: None,
        unclear: true,
        request: None,
        refused,
    };

    // A path or an application's text with a newline: other entries, real or forged, may be among
    // the lines. None names a client, and each refused password counts.
    if first_line.len() < message.len() {
        let later = || message.split(|c| *c == b'\n').skip(1);
        let others = later().filter(|line| is_refusal(line)).count();
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        let is_path = numbered && appended::continues(first_line, first_line.len());
        // An end behind the end: the entry is itself a line of a text that began before it.
        let ends_twice = appended::has_appended(first_line) && later().any(appended::has_appended);
        if others > 0 || ends_twice || (is_path && own_refusal == 0) {
            return Some(ErrorEntry {
                message: if is_path || ends_twice {
                    first_line
                } else {
                    message
                },
                ..unclear(own_refusal.saturating_add(others))
            });
        }
    }

    let Some(appended) = appended::find_appended(message, length) else {
        return Some(ErrorEntry {
            message,
            ..unclear(own_refusal)
        });
    };
    let appended::Appended {
        client,
        request,
        unclear,
        at: end,
    } = appended;

    Some(ErrorEntry {
        at,
        level,
        message: &message[..end],
        client,
        unclear,
        request,
        refused: own_refusal,
    })
}

/// Returns whether a line looks like an entry about a refused password.
fn is_refusal(line: &[u8]) -> bool {
    if let Some((civil, rest)) = apache_stamp(line) {
        let at = civil.readings(&Zone::UTC).map(|at| at.first);
        return at
            .and_then(|at| parse_apache(at, rest))
            .is_some_and(|entry| entry.refused > 0);
    }
    entry_message(line).is_some_and(|message| refused_account(message).is_some())
}

/// Returns the message of a line that looks like the first of an nginx entry.
fn entry_message(line: &[u8]) -> Option<&[u8]> {
    let (_, rest) = nginx_stamp(line)?;
    Some(parse_opening(rest)?.2)
}

/// Returns where a message of PHP reports that an audit event could not be written.
fn is_audit_failure(message: &[u8]) -> Option<Place> {
    // What looks like another entry within this one may be one.
    let within = || {
        let later = message.split(|c| *c == b'\n').skip(1);
        later
            .filter_map(entry_message)
            .any(|message| is_audit_failure(message).is_some())
    };
    AUDIT_FAILURES
        .iter()
        .filter_map(|start| php_message_place(message, start))
        .min_by_key(|place| *place != Place::First)
        .or_else(|| within().then_some(Place::Later))
}

/// Parses `[ssl:error] [pid 44570] [client 192.0.2.7:5] MESSAGE`.
fn parse_apache(at: Timestamp, mut rest: &[u8]) -> Option<ErrorEntry<'_>> {
    let mut level: &[u8] = b"";
    let mut client = None;
    while let Some(inner) = rest.strip_prefix(b"[") {
        // `[client [2001:db8::1]:5]`
        let from = if inner.starts_with(b"client [") {
            memmem::find(inner, b"]:").map_or(0, |at| at + 1)
        } else {
            0
        };

        let Some(end) = memchr::memchr(b']', &inner[from..]).map(|at| from + at) else {
            break;
        };

        let part = &inner[..end];
        if level.is_empty() {
            level = part.rsplit(|c| *c == b':').next().unwrap_or(part);
        } else if let Some(address_of) = part
            .strip_prefix(b"client ")
            .or_else(|| part.strip_prefix(b"remote "))
        {
            client = parse_address(address_of);
            rest = inner[end + 1..].trim_ascii_start();
            // The client may choose everything after its address.
            break;
        } else if !(part.starts_with(b"pid ") || part.starts_with(b"tid ")) {
            break;
        }

        rest = inner[end + 1..].trim_ascii_start();
    }

    (!level.is_empty()).then(|| ErrorEntry {
        at,
        level,
        message: rest,
        client,
        unclear: client.is_none(),
        request: None,
        refused: u32::from(refused_account(rest).is_some()),
    })
}

fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    // Apache writes IPv6 with its port and without brackets.
    let without_port = || text.rsplit_once(':').and_then(|(ip, _)| single(ip));
    single(text).or_else(without_port)
}

/// Strips `AH01617: ` and `Digest: `, which name the module that logs.
fn without_module(message: &[u8]) -> &[u8] {
    let message = match message {
        [b'A', b'H', digits @ ..] => {
            memmem::find(digits, b": ").map_or(message, |at| &digits[at + 2..])
        }
        _ => message,
    };
    message.strip_prefix(b"Digest: ").unwrap_or(message)
}

/// Returns the account of a message about a refused password. The client chooses the name, so a
/// quoted one ends at the last possible mark.
fn refused_account(message: &[u8]) -> Option<&[u8]> {
    let message = without_module(message);
    let rest = message
        .strip_prefix(b"user ")
        .or_else(|| message.strip_prefix(b"PAM: user "))?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = memmem::rfind(quoted, b"\": password mismatch")
            .or_else(|| memmem::rfind(quoted, b"\" was not found in"));
        // The end of a name that is too long for an entry is missing.
        return Some(&quoted[..end.unwrap_or(quoted.len())]);
    }

    let marks: [&[u8]; 5] = [
        b": authentication failure for",
        b": password mismatch",
        b" in realm ",
        b" - not authenticated: ",
        b" not found",
    ];
    let name = marks
        .iter()
        .find_map(|mark| Some(&rest[..memmem::find(rest, mark)?]))?
        .trim_ascii();

    // Apache quotes as in `name' or 'name'.
    let name = name
        .strip_prefix(b"`")
        .or_else(|| name.strip_prefix(b"'"))
        .unwrap_or(name);
    Some(name.strip_suffix(b"'").unwrap_or(name))
}

/// Returns whether access was denied for another reason than a password.
fn is_denied(message: &[u8]) -> bool {
    let message = without_module(message);
    message.starts_with(b"client denied by server configuration")
        || message.starts_with(b"Authorization of user ")
        || message.starts_with(b"access forbidden by rule")
        || (message.starts_with(b"user ")
            && memmem::find(message, b": authorization failure for").is_some())
}

/// Where in an entry a message of PHP stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where the server itself put it.
    First,
    /// Behind another message, whose text a client may have chosen, with this beginning.
    Later,
}

/// Returns where a message of PHP starts with `beginning`: one that the server passes on from
/// FastCGI, or the message itself for PHP within Apache. Elsewhere in an entry a client could have
/// sent these words.
fn php_message_place(message: &[u8], beginning: &[u8]) -> Option<Place> {
    const MESSAGE: &[u8] = b"PHP message: ";
    let message = without_module(message);
    let passed_on = [&b"FastCGI sent in stderr: \""[..], b"Got error '"];
    let said = passed_on
        .iter()
        .find_map(|mark| message.strip_prefix(*mark))
        .unwrap_or(message);
    let first = said.strip_prefix(MESSAGE).unwrap_or(said);
    if first.starts_with(beginning) {
        return Some(Place::First);
    }

    // Several messages are separated by newlines, since PHP 7.4 by semicolons.
    let is_later = |at: usize| {
        let before = &said[..at];
        (before.ends_with(b"\n") || before.ends_with(b"; "))
            && said[at + MESSAGE.len()..].starts_with(beginning)
    };
    let passed_on = said.len() < message.len();
    (passed_on && memmem::find_iter(said, MESSAGE).any(is_later)).then_some(Place::Later)
}

impl<'a> ErrorEntry<'a> {
    fn into_event(self, id: LineId) -> SecurityEvent<'a> {
        let Self {
            at,
            level,
            message,
            client,
            unclear,
            request,
            refused,
        } = self;

        let minor = matches!(level, b"debug" | b"info" | b"notice");
        let account = refused_account(message);
        let first = message
            .split(|c| *c == b'\n')
            .next()
            .unwrap_or_default()
            .trim_ascii();

        let audit_failure = is_audit_failure(message);
        let (category, action) = match refused {
            _ if refused > 0 => (Category::Auth, "login_failed"),
            _ if audit_failure.is_some() => (Category::System, "audit_failure"),
            _ if php_message_place(message, b"PHP Fatal error").is_some() => {
                (Category::System, "php_fatal")
            }
            _ if is_denied(message) => (Category::Network, "access_denied"),
            _ => (Category::Network, "server_error"),
        };

        let result = if action == "access_denied" {
            Outcome::Denied
        } else if minor {
            Outcome::Success
        } else {
            Outcome::Failure
        };

        let mut event = SecurityEvent::new(
            id.event_id(at),
            at,
            Source::Nginx,
            category,
            action.into(),
            result,
        );
        event.ip_address = client;

        event.occurrences = refused.max(1);
        event.account_name = account.filter(|_| refused == 1).map(lossy_text);
        event.resource_type = Some("web server".into());
        event.resource_id = request.map(|r| lossy_text(&r[..r.len().min(2048)]));
        let mut details = Object::with_capacity(first.len().min(MESSAGE_MAX) + 64);
        details
            .text_field("level", level)
            .text_field("message", &first[..first.len().min(MESSAGE_MAX)]);

        if action == "audit_failure" && audit_failure == Some(Place::Later) {
            details.text_field("certainty", b"unconfirmed");
        }
        if refused > 0 && unclear {
            details.text_field("origin", b"web server");
        }

        event.details = Details::from_json(details.finish());
        event.classify()
    }
}

#[cfg(test)]
mod tests;
