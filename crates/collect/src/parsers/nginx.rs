//! Access logs of nginx and Apache: `combined`, optionally with a virtual host before it and
//! further fields after it, and JSON objects with nginx's variable names; also behind the prefix of
//! a syslog daemon or a container runtime.
//!
//! Clients send everything between the quotation marks: request targets are hostile bytes.

use std::net::IpAddr;

use model::Network;
use model::address::client_behind;
use model::civil::{Civil, digits, month};
use model::event::UserId;
use model::{Category, Outcome, SecurityEvent, Source, Text, Timestamp};
use serde_json::{Map, Value};

use super::{Format, LineId, LineParser, ParseContext, Parsed, syslog};
use crate::masking::masked_body;
use crate::text::{Object, add_named_origin, lossy_text, without_padding};
use head::{Head, is_client, parse_head};

mod head;

pub(super) const FORMAT: Format = Format {
    name: "nginx",
    description: "access logs of nginx and Apache: parse_combined (further fields allowed) or JSON",
    source: Source::Nginx,
    entry_rules: None,
    parser: |context| Box::new(Access::new(context)),
};

/// Bytes of a request target that are kept. The column holds more, and attackers send more.
const TARGET_MAX: usize = 8192;
/// Prefixes and wrappers around a line, such as a container's within a syslog daemon's.
const WRAPPERS_MAX: u8 = 3;
/// Bytes of a user agent that are kept as one. The details hold more of a longer one, since rules
/// must see what a client puts behind its beginning.
const AGENT_MAX: usize = 500;
/// Bytes of a header that rules judge; they take one that is longer for suspicious.
const HEADER_MAX: usize = 8192;
/// Bytes of a body that are judged: less than what rules take for too long, as a body is often long.
const BODY_MAX: usize = 8000;

struct Access {
    /// Reads the prefix of a syslog daemon.
    prefix: syslog::Prefix,
    trusted_proxies: Vec<Network>,
}

impl Access {
    fn new(mut context: ParseContext) -> Self {
        Self {
            trusted_proxies: std::mem::take(&mut context.trusted_proxies),
            prefix: syslog::Prefix::new(context),
        }
    }

    /// Parses a line, below `depth` prefixes or wrappers that others put around it.
    fn parse_wrapped<'a>(&self, line: &'a [u8], id: LineId, depth: u8) -> Parsed<'a> {
        let request = parse_combined(line);
        // A virtual host, which clients choose, may begin with a brace, too.
        if line.starts_with(b"{") && request.is_err() {
            return self.parse_json(line, id, depth);
        }
        let problem = match request {
            Ok(request) => return Parsed::Event(request.into_event(id, &self.trusted_proxies)),
            Err(problem) => problem,
        };

        // What stands before a line is tried last: most lines have nothing there.
        if depth > 0 {
            if let Some(inner) = head::without_container(line) {
                return self.parse_wrapped(inner.trim_ascii(), id, depth - 1);
            }
            if let Some(logged) = self.prefix.split(line) {
                let mut parsed = self.parse_wrapped(logged.text.trim_ascii(), id, depth - 1);
                if let Parsed::Event(event) = &mut parsed {
                    event.provenance = Some(Box::new(logged.provenance()));
                }
                return parsed;
            }
            if let Some(inner) = head::unquoted(line) {
                return into_owned(self.parse_wrapped(&inner, id, depth - 1));
            }
        }

        Parsed::Rejected(problem.to_owned())
    }
}

fn into_owned(parsed: Parsed<'_>) -> Parsed<'static> {
    match parsed {
        Parsed::Event(event) => Parsed::Event(event.into_owned()),
        Parsed::Nothing => Parsed::Nothing,
        Parsed::Rejected(why) => Parsed::Rejected(why),
    }
}

impl LineParser for Access {
    fn parse<'a>(&self, line: &'a [u8], id: LineId) -> Parsed<'a> {
        let line = without_padding(line).trim_ascii();
        if line.is_empty() {
            Parsed::Nothing
        } else {
            self.parse_wrapped(line, id, WRAPPERS_MAX)
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
    /// What the client sent, where a log in JSON has it.
    body: &'a [u8],
    /// Whom proxies say they forward for.
    forwarded: &'a [u8],
    /// How long the response took, in milliseconds.
    duration_ms: Option<u64>,
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
    /// Returns the address of the client. A trusted proxy names the client for which it forwards.
    fn client(&self, proxies: &[Network]) -> Option<IpAddr> {
        let text = |bytes| str::from_utf8(bytes).ok();
        let peer = client_behind(text(self.host)?, proxies)?;
        let is_proxy = proxies.iter().any(|proxy| proxy.contains(peer));
        let forwarded = text(self.forwarded).filter(|_| is_proxy);
        forwarded
            .and_then(|list| client_behind(list, proxies))
            .or(Some(peer))
    }

    fn into_event(self, id: LineId, proxies: &[Network]) -> SecurityEvent<'a> {
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
        event.ip_address = self.client(proxies);

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
        if let Some(duration) = self.duration_ms {
            details.number_field("duration_ms", duration.to_string().as_bytes());
        }
        if let Some(referer) = non_empty(self.referer) {
            details.text_field("referer", lossy_prefix(referer, HEADER_MAX).as_bytes());
        }
        if self.agent.len() > AGENT_MAX {
            details.text_field(
                "user_agent",
                lossy_prefix(self.agent, HEADER_MAX).as_bytes(),
            );
        }

        if let Some(body) = non_empty(self.body) {
            let body = masked_body(&lossy_prefix(body, BODY_MAX));
            details.text_field("body", body.as_bytes());
        }

        // A host name keys the rules as an address does.
        if event.ip_address.is_none() && non_empty(self.host).is_some() {
            add_named_origin(&mut details, self.host);
        }

        event.details = model::event::Details::made(details.finish());
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

fn parse_combined(line: &[u8]) -> Result<Request<'_>, &'static str> {
    const NO_LINE: &str = "not a line of an access log";
    let (open, at) = find_time(line).ok_or(NO_LINE)?;
    let Head { host, user } = parse_head(&line[..open])
        .ok_or("the client is not understood: there is no address or host name in its place")?;
    let quote = open + memchr::memchr(b'"', &line[open..]).ok_or(NO_LINE)?;
    let (request, status, bytes, end) = request_and_status(line, quote + 1).ok_or(NO_LINE)?;

    // Referer, agent and the clients that proxies forward for; custom formats may quote more.
    let mut quoted: [&[u8]; 3] = [b""; 3];
    let mut next = end;
    for place in 0.. {
        let Some((field, after)) = quoted_field(line, next + 1) else {
            break;
        };
        next = after;
        if let Some(place) = quoted.get_mut(place) {
            *place = field;
        }
    }
    let [referer, agent, forwarded] = quoted;

    let (method, target) = method_and_target(request);
    Ok(Request {
        at,
        host,
        user,
        method,
        target,
        status,
        bytes,
        referer,
        agent,
        body: b"",
        forwarded,
        duration_ms: response_time(line.get(next..).unwrap_or_default()),
    })
}

/// Returns the time that a response took, in milliseconds, from the fields after the quoted ones:
/// nginx's `$request_time` (`0.123`, seconds), Apache's `%D` (`12345`, microseconds) or `%T` (`3`,
/// seconds), or one with a name (`rt=0.123`). No response is as fast as 60 microseconds, so a whole
/// number below 60 is taken for seconds.
fn response_time(fields: &[u8]) -> Option<u64> {
    let first = fields.split(|c| *c == b' ').find(|word| !word.is_empty())?;
    let text = str::from_utf8(first).ok()?;
    let text = ["rt=", "request_time=", "rt:"]
        .iter()
        .find_map(|name| text.strip_prefix(name))
        .unwrap_or(text);
    if text.contains('.') {
        return seconds_to_ms(text);
    }

    match text.parse::<u64>().ok()? {
        seconds @ ..60 => Some(seconds * 1000),
        micros => Some(micros / 1000),
    }
}

/// Parses seconds with a fraction and returns milliseconds.
fn seconds_to_ms(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| plain)?;
    (seconds < 1e9).then_some((seconds * 1000.0).round() as u64)
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

impl Access {
    fn parse_json(&self, line: &[u8], id: LineId, depth: u8) -> Parsed<'static> {
        let Some(object) = crate::json::parse_object(line) else {
            return Parsed::Rejected(
                "neither a line of an access log nor a JSON object".to_owned(),
            );
        };

        // Docker's json-file driver.
        if let (Some(Value::String(inner)), true, true) =
            (object.get("log"), object.contains_key("stream"), depth > 0)
        {
            return into_owned(self.parse_wrapped(inner.trim().as_bytes(), id, depth - 1));
        }

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
            return Parsed::Rejected(
                "a JSON object without time_iso8601 or remote_addr".to_owned(),
            );
        };
        if !host.is_empty() && !is_client(host.as_bytes()) {
            return Parsed::Rejected(
                "remote_addr is neither an address nor a host name".to_owned(),
            );
        }

        let request = get(&["request"]).unwrap_or_default();
        let (method, target) = method_and_target(request.as_bytes());
        let method =
            get(&["request_method", "method"]).map_or_else(|| method.to_vec(), String::into_bytes);
        let part = |keys: &[&str]| get(keys).unwrap_or_default().into_bytes();
        let target = match (part(&["request_uri"]), target) {
            (asked, _) if !asked.is_empty() => asked,
            (_, asked) if !asked.is_empty() => asked.to_vec(),
            // nginx's `$uri` is the path alone, without what stands behind the question mark.
            _ => {
                let path = part(&["uri", "path", "url"]);
                let query = part(&["args", "query_string", "query"]);
                let has_query = query.is_empty() || path.contains(&b'?');
                let joined = [&path[..], b"?", &query].concat();
                if has_query { path } else { joined }
            }
        };
        let user = part(&["remote_user", "user"]);
        let bytes = part(&["body_bytes_sent", "bytes_sent", "bytes"]);
        let referer = part(&["http_referer", "referer", "referrer"]);
        let agent = part(&["http_user_agent", "user_agent", "agent"]);
        let body = part(&["request_body"]);
        let forwarded = part(&["http_x_forwarded_for", "x_forwarded_for"]);
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
            body: &body,
            forwarded: &forwarded,
            // nginx's `$request_time` and Caddy's `duration` are seconds, Traefik's `Duration`
            // nanoseconds.
            duration_ms: get(&["request_time", "duration"])
                .and_then(|text| seconds_to_ms(&text))
                .or_else(|| Some(get(&["Duration"])?.parse::<u64>().ok()? / 1_000_000)),
        };

        Parsed::Event(request.into_event(id, &self.trusted_proxies).into_owned())
    }
}

#[cfg(test)]
mod tests;
