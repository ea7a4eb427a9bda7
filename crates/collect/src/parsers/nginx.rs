//! Access logs of nginx and Apache: `combined`, optionally with a virtual host before it and
//! further fields after it, and JSON objects with nginx's variable names.
//!
//! Clients send everything between the quotation marks: request targets are hostile bytes.

use model::civil::{Civil, digits, month};
use model::event::UserId;
use model::{Category, Outcome, SecurityEvent, Source, Text, Timestamp};
use serde_json::{Map, Value};

use super::{Format, LineId, LineParser, ParseContext, Parsed};
use crate::text::{Object, lossy_text, parse_address, without_padding};

pub(super) const FORMAT: Format = Format {
    name: "nginx",
    description: "access logs of nginx and Apache: parse_combined (further fields allowed) or JSON",
    source: Source::Nginx,
    entry_rules: None,
    parser: |_: ParseContext| Box::new(Access),
};

/// Bytes of a request target that are kept. The column holds more, and attackers send more.
const TARGET_MAX: usize = 8192;
/// Bytes of a user agent that are kept.
const AGENT_MAX: usize = 500;

struct Access;

impl LineParser for Access {
    fn parse<'a>(&self, line: &'a [u8], id: LineId) -> Parsed<'a> {
        let line = without_padding(line).trim_ascii();
        match line.first() {
            None => Parsed::Nothing,
            Some(b'{') => parse_json(line, id),
            Some(_) => match parse_combined(line) {
                Some(request) => Parsed::Event(request.into_event(id)),
                None => Parsed::Rejected("not a line of an access log".to_owned()),
            },
        }
    }
}

/// The fields of a line.
struct Request<'a> {
    at: Timestamp,
    host: &'a [u8],
    user: &'a [u8],
    /// Empty when the request is not HTTP.
    method: &'a [u8],
    target: &'a [u8],
    status: u16,
    bytes: &'a [u8],
    referer: &'a [u8],
    agent: &'a [u8],
}

/// Returns the field unless it is empty or `-`.
fn non_empty(field: &[u8]) -> Option<&[u8]> {
    (!field.is_empty() && field != b"-").then_some(field)
}

fn lossy_prefix(bytes: &[u8], max: usize) -> Text<'_> {
    let mut end = bytes.len().min(max);
    // Do not cut within a character.
    while end > 0 && end < bytes.len() && bytes[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    lossy_text(&bytes[..end])
}

impl<'a> Request<'a> {
    fn into_event(self, id: LineId) -> SecurityEvent<'a> {
        let result = match self.status {
            401 | 403 | 407 | 429 => Outcome::Denied,
            400.. => Outcome::Failure,
            _ => Outcome::Success,
        };

        let mut event = SecurityEvent::new(
            id.event_id(self.at),
            self.at,
            Source::Nginx,
            Category::Network,
            "http_request".into(),
            result,
        );
        event.ip_address = parse_address(self.host);

        event.user_id = non_empty(self.user).map(|user| UserId::Name(lossy_text(user)));
        event.user_agent = non_empty(self.agent).map(|agent| lossy_prefix(agent, AGENT_MAX));
        event.resource_type = Some(lossy_text(if self.method.is_empty() {
            b"-"
        } else {
            self.method
        }));
        event.resource_id = Some(lossy_prefix(self.target, TARGET_MAX));

        let mut details = Object::with_capacity(96);
        details
            .number_field("status", self.status.to_string().as_bytes())
            .number_field("bytes", self.bytes);
        if let Some(referer) = non_empty(self.referer) {
            details.text_field("referer", &referer[..referer.len().min(1024)]);
        }

        if event.ip_address.is_none() {
            details.text_field("host", self.host);
        }

        event.details = model::event::Details::from_json(details.finish());
        event.classify()
    }
}

/// Parses `04/Jul/2026:12:00:00 +0200`.
fn parse_clf_time(stamp: &[u8]) -> Option<Timestamp> {
    let [d1, d2, b'/', m @ .., b' ', sign, z1, z2, z3, z4] = stamp else {
        return None;
    };
    let [
        m1,
        m2,
        m3,
        b'/',
        y1,
        y2,
        y3,
        y4,
        b':',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
    ] = m
    else {
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

    let east = digits(&[*z1, *z2])? * 3600 + digits(&[*z3, *z4])? * 60;
    match sign {
        b'+' => civil.at_offset(east),
        b'-' => civil.at_offset(-east),
        _ => None,
    }
}

/// Finds the quotation mark that ends a field that began before `at`: one that is not escaped and
/// is followed by a space or the end.
fn end_of_quoted(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let quote = at + memchr::memchr(b'"', line.get(at..)?)?;
        let escapes = line[..quote]
            .iter()
            .rev()
            .take_while(|c| **c == b'\\')
            .count();
        if escapes % 2 == 0 && line.get(quote + 1).is_none_or(|c| *c == b' ') {
            return Some(quote);
        }

        at = quote + 1;
    }
}

/// Returns the quoted field at `at` and the offset behind it.
fn quoted_field(line: &[u8], at: usize) -> Option<(&[u8], usize)> {
    if line.get(at) != Some(&b'"') {
        return None;
    }
    let end = end_of_quoted(line, at + 1)?;
    Some((&line[at + 1..end], end + 1))
}

/// Finds ` [04/Jul/2026:12:00:00 +0200] "` and returns its offset and time.
///
/// The client chooses the user name before it, which may hold brackets and blanks, but servers
/// escape quotation marks in it. So the first time that is followed by one is the server's; the
/// request comes later.
fn find_time(line: &[u8]) -> Option<(usize, Timestamp)> {
    const LENGTH: usize = b"04/Jul/2026:12:00:00 +0200".len();
    memchr::memmem::find_iter(line, b" [").find_map(|open| {
        let time = line.get(open + 2..open + 2 + LENGTH)?;
        let follows = line.get(open + 2 + LENGTH..)?.starts_with(b"] \"");
        follows
            .then(|| parse_clf_time(time))
            .flatten()
            .map(|at| (open, at))
    })
}

fn parse_combined(line: &[u8]) -> Option<Request<'_>> {
    let (open, at) = find_time(line)?;
    let (host, user) = host_and_user(&line[..open])?;
    let quote = open + memchr::memchr(b'"', &line[open..])?;
    let (request, status, bytes, end) = request_and_status(line, quote + 1)?;
    let mut referer: &[u8] = b"";
    let mut agent: &[u8] = b"";
    if let Some((field, next)) = quoted_field(line, end + 1) {
        referer = field;
        agent = quoted_field(line, next + 1).map_or(b"", |(field, _)| field);
    }

    let (method, target) = method_and_target(request);
    Some(Request {
        at,
        host,
        user,
        method,
        target,
        status,
        bytes,
        referer,
        agent,
    })
}

/// Returns the request that begins at `from`, status and size of the response, and where they end.
/// Old servers do not escape quotation marks: one without a status after it is part of the request.
fn request_and_status(line: &[u8], from: usize) -> Option<(&[u8], u16, &[u8], usize)> {
    let mut at = from;
    loop {
        let end = end_of_quoted(line, at)?;
        let rest = line.get(end + 1..).unwrap_or_default();
        if let [b' ', a, b, c, after @ ..] = rest
            && let Some(status) =
                digits(&[*a, *b, *c]).and_then(|status| u16::try_from(status).ok())
            && after.first().is_none_or(|c| *c == b' ')
        {
            let bytes = after.get(1..).unwrap_or_default();
            let bytes = &bytes[..memchr::memchr(b' ', bytes).unwrap_or(bytes.len())];
            return Some((&line[from..end], status, bytes, end + 6 + bytes.len()));
        }
        at = end + 1;
    }
}

/// Returns host and user of `[VHOST ]HOST IDENT USER`.
fn host_and_user(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = head.split_at(memchr::memchr(b' ', head)?);
    let rest = &rest[1..];
    let (second, after) = rest.split_at(memchr::memchr(b' ', rest).unwrap_or(rest.len()));

    // An identity (RFC 1413) is not an address, so a word before an address is a virtual host,
    // which clients choose. If that is an address too, the identity must be missing, as it always
    // is in practice, because a client can claim any identity.
    let after = after.get(1..).unwrap_or_default();
    let shifted = parse_address(second).is_some()
        && memchr::memchr(b' ', after).is_some()
        && (parse_address(first).is_none() || after.starts_with(b"- "));
    let (host, rest) = if shifted {
        (second, after)
    } else {
        (first, rest)
    };

    // The identity is one word.
    let user = rest.get(memchr::memchr(b' ', rest)? + 1..)?;
    Some((host, user))
}

/// Splits a request line into method and target. A line that is not HTTP is only a target.
fn method_and_target(request: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b' ', request).unwrap_or(0);
    if end == 0
        || !request[..end]
            .iter()
            .all(|c| c.is_ascii_uppercase() || *c == b'_' || *c == b'-')
    {
        return (b"", request);
    }

    // The target may hold spaces; only a version at the end is cut off.
    let rest = &request[end + 1..];
    let target = match memchr::memrchr(b' ', rest) {
        Some(at) if rest[at + 1..].starts_with(b"HTTP/") => &rest[..at],
        _ => rest,
    };
    (&request[..end], target)
}

/// Returns the value of the first of these keys that is present, as text.
fn first_field(object: &Map<String, Value>, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| match object.get(*key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn parse_json(line: &[u8], id: LineId) -> Parsed<'static> {
    let Some(object) = crate::json::parse_object(line) else {
        return Parsed::Rejected("neither a line of an access log nor a JSON object".to_owned());
    };
    let get = |keys: &[&str]| first_field(&object, keys);
    let stamp = get(&[
        "time_iso8601",
        "@timestamp",
        "time_local",
        "timestamp",
        "time",
        "msec",
    ])
    .unwrap_or_default();

    let at = Timestamp::parse(&stamp)
        .ok()
        .or_else(|| parse_clf_time(stamp.as_bytes()))
        .or_else(|| {
            let secs: f64 = stamp.parse().ok()?;
            (secs.is_finite() && secs > 0.0 && secs < 1e11)
                .then(|| Timestamp::from_micros((secs * 1e6) as i64))
        });

    let (Some(at), Some(host)) = (
        at,
        get(&["remote_addr", "client_ip", "remote_ip", "client", "ip"]),
    ) else {
        return Parsed::Rejected("a JSON object without time_iso8601 or remote_addr".to_owned());
    };

    let request = get(&["request"]).unwrap_or_default();
    let (method, target) = method_and_target(request.as_bytes());
    let method =
        get(&["request_method", "method"]).map_or_else(|| method.to_vec(), String::into_bytes);
    let target = get(&["request_uri", "uri", "path", "url"])
        .map_or_else(|| target.to_vec(), String::into_bytes);
    let part = |keys: &[&str]| get(keys).unwrap_or_default().into_bytes();
    let user = part(&["remote_user", "user"]);
    let bytes = part(&["body_bytes_sent", "bytes_sent", "bytes"]);
    let referer = part(&["http_referer", "referer", "referrer"]);
    let agent = part(&["http_user_agent", "user_agent", "agent"]);
    let status = get(&["status"]).and_then(|s| s.parse().ok()).unwrap_or(0);
    let request = Request {
        at,
        host: host.as_bytes(),
        user: &user,
        method: &method,
        target: &target,
        status,
        bytes: &bytes,
        referer: &referer,
        agent: &agent,
    };

    Parsed::Event(request.into_event(id).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    const ID: LineId = LineId {
        file: 7,
        offset: 42,
    };

    fn describe(line: &str) -> String {
        match Access.parse(line.as_bytes(), ID) {
            Parsed::Event(e) => format!(
                "{} {} {} {} {} {} {:?} {}",
                e.timestamp,
                e.ip_address.map_or("-".to_owned(), |ip| ip.to_string()),
                e.user_id
                    .as_ref()
                    .map_or("-".to_owned(), ToString::to_string),
                e.resource_type.as_deref().unwrap_or("-"),
                e.resource_id.as_deref().unwrap_or("-"),
                e.user_agent.as_deref().unwrap_or("-"),
                e.result,
                e.details.as_json(),
            ),
            Parsed::Nothing => "nothing".to_owned(),
            Parsed::Rejected(why) => format!("rejected: {why}"),
        }
    }

    #[test]
    fn combined_and_json_lines_are_read() {
        let cases = [
            (
                r#"192.0.2.7 - - [25/Oct/2016:14:49:33 +0200] "GET /a?b=c HTTP/1.1" 404 571 "http://x/" "curl/8""#,
                r#"2016-10-25T12:49:33Z 192.0.2.7 - GET /a?b=c curl/8 Failure {"status":404,"bytes":571,"referer":"http://x/"}"#,
            ),
            (
                r#"www.example.com:443 2001:db8::1 - ann b [25/Oct/2016:14:49:33 -0130] "POST / HTTP/2.0" 403 - "-" "-" "more" 0.2"#,
                r#"2016-10-25T16:19:33Z 2001:db8::1 ann b POST / - Denied {"status":403}"#,
            ),
            // Apache escapes quotation marks, old servers do not, and some clients do not send
            // HTTP.
            (
                r#"192.0.2.7 - - [25/Oct/2016:14:49:33 +0000] "GET /\"x\" y HTTP/1.1" 200 5 "-" "a \"b\"""#,
                r#"2016-10-25T14:49:33Z 192.0.2.7 - GET /\"x\" y a \"b\" Success {"status":200,"bytes":5}"#,
            ),
            (
                r#"192.0.2.7 - - [25/Oct/2016:14:49:33 +0000] "\x16\x03\x01" 400 150 "-" "-""#,
                r#"2016-10-25T14:49:33Z 192.0.2.7 - - \x16\x03\x01 - Failure {"status":400,"bytes":150}"#,
            ),
            (
                r#"crawler.example.org - - [25/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5"#,
                r#"2016-10-25T14:49:33Z - - GET / - Success {"status":200,"bytes":5,"host":"crawler.example.org"}"#,
            ),
            (
                r#"{"time_iso8601":"2026-03-04T10:00:00+01:00","remote_addr":"192.0.2.7","request":"GET /x HTTP/1.1","status":"302","http_user_agent":"é"}"#,
                r#"2026-03-04T09:00:00Z 192.0.2.7 - GET /x é Success {"status":302}"#,
            ),
            (
                r#"{"msg":"hello"}"#,
                "rejected: a JSON object without time_iso8601 or remote_addr",
            ),
            ("hello", "rejected: not a line of an access log"),
            (
                r#"192.0.2.7 - - [32/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5"#,
                "rejected: not a line of an access log",
            ),
            // The client chooses the whole user name, brackets included.
            (
                r#"192.0.2.7 - x [01/Jan/2020:00:00:00 +0000] y [25/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5 "a [01/Jan/2020:00:00:00 +0000] \"b" "c""#,
                r#"2016-10-25T14:49:33Z 192.0.2.7 x [01/Jan/2020:00:00:00 +0000] y GET / c Success {"status":200,"bytes":5,"referer":"a [01/Jan/2020:00:00:00 +0000] \\\"b"}"#,
            ),
            // The client also chooses the virtual host, which may be an address; an identity may
            // not.
            (
                r#"10.0.0.5 203.0.113.9 - - [25/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5"#,
                r#"2016-10-25T14:49:33Z 203.0.113.9 - GET / - Success {"status":200,"bytes":5}"#,
            ),
            (
                r#"203.0.113.9 9.9.9.9 ann b [25/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5"#,
                r#"2016-10-25T14:49:33Z 203.0.113.9 ann b GET / - Success {"status":200,"bytes":5}"#,
            ),
            (
                r#"[2001:db8::1]:443 - - [25/Oct/2016:14:49:33 +0000] "GET /" 5" HTTP/1.0" 404"#,
                r#"2016-10-25T14:49:33Z 2001:db8::1 - GET /" 5" - Failure {"status":404}"#,
            ),
            (
                r#"{"time_iso8601":"2026-03-04T10:00:00+01:00","remote_addr":"192.0.2.7","request":"GET /x HTTP/1.1","status":403,"upstream_response_time":-,"http_user_agent":"a\x22b"}"#,
                r#"2026-03-04T09:00:00Z 192.0.2.7 - GET /x a"b Denied {"status":403}"#,
            ),
            ("\0\0\0", "nothing"),
            ("", "nothing"),
        ];

        for (line, expected) in cases {
            assert_eq!(describe(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Access.parse(&line, ID);
        }

        /// With nginx's escaping (quotation marks, backslashes and unprintable bytes as `\xHH`) and
        /// Apache's (`\"`).
        #[test]
        fn no_client_hides_its_request_or_dates_it(
            fields in proptest::array::uniform4(
                "( \\[01/Jan/2020:00:00:00 \\+0000\\]| - |9\\.9\\.9\\.9 |\"|\\\\| 200 5 |\\] \
                    \"GET /|[ -~]{0,6}|\\PC{0,3}){0,5}",
            ),
            before in prop_oneof![Just(""), Just("www.example.com:443 "), Just("10.0.0.5 ")],
            apache in any::<bool>(),
        ) {
            let escape = |text: &String| {
                let mut written = String::new();
                for byte in text.bytes() {
                    match byte {
                        b'"' | b'\\' if apache => written.extend(['\\', char::from(byte)]),
                        b'"' | b'\\' | 0..b' ' | 0x7f.. => {
                            let _ = write!(written, "\\x{byte:02X}");
                        }
                        _ => written.push(char::from(byte)),
                    }
                }

                written
            };

            let [user, request, referer, agent] = fields.each_ref().map(escape);
            let line = format!(
                "{before}203.0.113.9 - {user} [25/Oct/2016:14:49:33 +0000] \"{request}\" 404 17 \
                    \"{referer}\" \"{agent}\""
            );
            let Parsed::Event(event) = Access.parse(line.as_bytes(), ID) else { panic!("{line}") };
            let client = std::net::Ipv4Addr::new(203, 0, 113, 9);
            prop_assert_eq!(event.ip_address, Some(client.into()), "{}", line);
            prop_assert_eq!(event.timestamp.to_string(), "2016-10-25T14:49:33Z", "{}", line);

            prop_assert_eq!(event.details.number("status"), Some(404), "{}", line);
        }

        #[test]
        fn every_request_becomes_an_event(
            target in "[!-~]{0,40}",
            agent in "\\PC{0,20}",
            status in 100_u16..600,
        ) {
            let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let (target, agent) = (escape(&target), escape(&agent));
            let line = format!("192.0.2.7 - - [25/Oct/2016:14:49:33 +0200] \"GET {target} \
                HTTP/1.1\" {status} 5 \"-\" \"{agent}\"");
            let Parsed::Event(event) = Access.parse(line.as_bytes(), ID) else { panic!("{line}") };
            prop_assert_eq!(event.resource_id.as_deref(), Some(target.as_str()));
            prop_assert_eq!(event.details.number("status"), Some(u64::from(status)));
        }
    }
}
