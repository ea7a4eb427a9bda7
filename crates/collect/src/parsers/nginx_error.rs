//! Error logs of nginx and Apache: refused passwords become failed logins, the rest what the server
//! complained about.

use std::net::{IpAddr, SocketAddr};

use memchr::memmem;
use model::civil::{Civil, Zone, digits, month};
use model::event::Details;
use model::{Category, Outcome, SecurityEvent, Source, Timestamp};

use super::{Format, LineId, LineParser, Lines, Parsed, Reference};
use crate::text::{Object, text, without_padding};

mod appended;

pub(super) const FORMAT: Format = Format {
    name: "nginx_error",
    description: "error logs of nginx and Apache, entries of many lines included",
    source: Source::Nginx,
    lines: Some(Lines {
        begins,
        goes_on: Some(goes_on),
    }),
    parser: |reference: Reference| {
        Box::new(WebError {
            zone: reference.zone,
        })
    },
};

/// What is kept of a message.
const MESSAGE_MAX: usize = 1024;
/// nginx writes no longer entries.
const ENTRY_MAX: usize = 2047;

fn begins(line: &[u8]) -> bool {
    let line = without_padding(line);
    nginx_stamp(line).is_some() || apache_stamp(line).is_some()
}

/// Whether an entry of nginx about a request is not complete after a line. A newline in a path is
/// written as it came, and what follows it must not become an entry of its own.
fn goes_on(before: Option<usize>, line: &[u8]) -> bool {
    let Some(before) = before else {
        let line = without_padding(line);
        let opening = nginx_stamp(line).and_then(|(_, rest)| opening(rest));
        return opening.is_some_and(|(level, numbered, message)| {
            let of_request = numbered && !matches!(level, b"debug" | b"info" | b"notice");
            of_request && appended::goes_on(message, line.len())
        });
    };
    before + 1 + line.len() < ENTRY_MAX && !appended::ends(line)
}

struct WebError {
    zone: Zone,
}

/// `2016/10/25 14:49:34 `, and what follows.
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

/// `[Sun Jul 09 06:10:51.190799 2023] `, with or without the fraction, and what follows.
fn apache_stamp(line: &[u8]) -> Option<(Civil, &[u8])> {
    let inner = line.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', &inner[..inner.len().min(40)])?;
    let mut words = inner[..end].split(|c| *c == b' ').filter(|w| !w.is_empty());
    let (_weekday, name, day, clock, year) = (
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
    );

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

/// What an entry says.
struct Complaint<'a> {
    at: Timestamp,
    level: &'a [u8],
    message: &'a [u8],
    client: Option<IpAddr>,
    /// Who the client is could be its own word.
    unclear: bool,
    request: Option<&'a [u8]>,
}

impl LineParser for WebError {
    fn parse<'a>(&self, entry: &'a [u8], id: LineId) -> Parsed<'a> {
        let entry = without_padding(entry);
        if entry.trim_ascii().is_empty() {
            return Parsed::Nothing;
        }

        let complaint = nginx_stamp(entry)
            .and_then(|(civil, rest)| nginx(civil.in_zone(&self.zone)?, rest, entry.len()))
            .or_else(|| {
                apache_stamp(entry)
                    .and_then(|(civil, rest)| apache(civil.in_zone(&self.zone)?, rest))
            });

        match complaint {
            Some(complaint) => Parsed::Event(complaint.into_event(id)),
            None => Parsed::Rejected("no entry of a web server's error log".to_owned()),
        }
    }
}

/// Level, whether it is about a connection, and message of `[error] 54053#0: *1 MESSAGE`.
fn opening(rest: &[u8]) -> Option<(&[u8], bool, &[u8])> {
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

/// `[error] 54053#0: *1 MESSAGE, client: 192.0.2.7, server: …, request: "GET / HTTP/1.1", …`, of an
/// entry of so many bytes.
fn nginx(at: Timestamp, rest: &[u8], length: usize) -> Option<Complaint<'_>> {
    let (level, _, message) = opening(rest)?;
    let Some(appended) = appended::find(message, length) else {
        return Some(Complaint {
            at,
            level,
            message,
            client: None,
            unclear: true,
            request: None,
        });
    };

    let appended::Appended {
        client,
        request,
        unclear,
        at: end,
    } = appended;

    Some(Complaint {
        at,
        level,
        message: &message[..end],
        client,
        unclear,
        request,
    })
}

/// `[ssl:error] [pid 44570] [client 192.0.2.7:5] MESSAGE`.
fn apache(at: Timestamp, mut rest: &[u8]) -> Option<Complaint<'_>> {
    let (mut level, mut client): (&[u8], _) = (b"", None);
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
            client = address(address_of);
            rest = inner[end + 1..].trim_ascii_start();
            // What follows the client is the client's.
            break;
        } else if !(part.starts_with(b"pid ") || part.starts_with(b"tid ")) {
            break;
        }
        rest = inner[end + 1..].trim_ascii_start();
    }

    (!level.is_empty()).then_some(Complaint {
        at,
        level,
        message: rest,
        client,
        unclear: false,
        request: None,
    })
}

fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    let ip = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|s| s.ip()));
    // Apache writes IPv6 with its port and without brackets.
    ip.or_else(|| text.rsplit_once(':').and_then(|(ip, _)| ip.parse().ok()))
        .map(|ip| ip.to_canonical())
}

/// Past `AH01617: ` and `Digest: `, which say who complains.
fn complaint(message: &[u8]) -> &[u8] {
    let message = match message {
        [b'A', b'H', digits @ ..] => {
            memmem::find(digits, b": ").map_or(message, |at| &digits[at + 2..])
        }
        _ => message,
    };
    message.strip_prefix(b"Digest: ").unwrap_or(message)
}

/// Who was refused, when the message is about a password. The name is the client's word: what
/// follows it is looked for from the end where there is one.
fn refused(message: &[u8]) -> Option<&[u8]> {
    let message = complaint(message);
    let rest = message
        .strip_prefix(b"user ")
        .or_else(|| message.strip_prefix(b"PAM: user "))?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = memmem::rfind(quoted, b"\": password mismatch")
            .or_else(|| memmem::rfind(quoted, b"\" was not found in"));
        // Of a name that is too long for an entry, the end is missing.
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

    // Quoted as in `name' or 'name'.
    let name = name
        .strip_prefix(b"`")
        .or_else(|| name.strip_prefix(b"'"))
        .unwrap_or(name);
    Some(name.strip_suffix(b"'").unwrap_or(name))
}

/// Whether somebody known was not let in: no matter of a password.
fn denied(message: &[u8]) -> bool {
    let message = complaint(message);
    message.starts_with(b"client denied by server configuration")
        || message.starts_with(b"Authorization of user ")
        || message.starts_with(b"access forbidden by rule")
        || (message.starts_with(b"user ")
            && memmem::find(message, b": authorization failure for").is_some())
}

/// Whether a message of PHP begins so: one that the server passes on from FastCGI, or, of PHP
/// within Apache, the server's own. Elsewhere in an entry the words may be a path or a header of a
/// client's.
fn php_says(message: &[u8], beginning: &[u8]) -> bool {
    const MESSAGE: &[u8] = b"PHP message: ";
    let message = complaint(message);
    let passed_on = [&b"FastCGI sent in stderr: \""[..], b"Got error '"];
    let Some(said) = passed_on
        .iter()
        .find_map(|mark| message.strip_prefix(*mark))
    else {
        return message.starts_with(beginning);
    };

    // Several at once are separated by newlines, since PHP 7.4 by semicolons.
    memmem::find_iter(said, MESSAGE).any(|at| {
        let before = &said[..at];
        let begins = before.is_empty() || before.ends_with(b"\n") || before.ends_with(b"; ");
        begins && said[at + MESSAGE.len()..].starts_with(beginning)
    }) || said.starts_with(beginning)
}

impl<'a> Complaint<'a> {
    fn into_event(self, id: LineId) -> SecurityEvent<'a> {
        let Self {
            at,
            level,
            message,
            client,
            unclear,
            request,
        } = self;

        let minor = matches!(level, b"debug" | b"info" | b"notice");
        let account = refused(message);
        let first = message
            .split(|c| *c == b'\n')
            .next()
            .unwrap_or_default()
            .trim_ascii();

        let (category, action) = match account {
            Some(_) => (Category::Auth, "login_failed"),
            None if php_says(message, b"AuditLogger") => (Category::System, "audit_failure"),
            None if php_says(message, b"PHP Fatal error") => (Category::System, "php_fatal"),
            None if denied(message) => (Category::Network, "access_denied"),
            None => (Category::Network, "server_error"),
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

        event.account_name = account.map(text);
        event.resource_type = Some("web server".into());
        event.resource_id = request.map(|r| text(&r[..r.len().min(2048)]));
        let mut details = Object::with_capacity(first.len().min(MESSAGE_MAX) + 64);
        details
            .text("level", level)
            .text("message", &first[..first.len().min(MESSAGE_MAX)]);

        if account.is_some() && unclear {
            details.text("origin", b"web server");
        }

        event.details = Details::from_json(details.finish());
        event.classify()
    }
}

#[cfg(test)]
mod tests;
