//! What stands before a syslog message: host, facility, program and process.
//!
//! Senders differ in which of these they write, and in what order. A head that is not recognized
//! makes the line unparsed: it must not be taken for a message without meaning.

use model::civil::Readings;

use super::LogMessage;
use super::time::{Calendar, split_word};
use crate::text::parse_address;

/// Bytes in which a tag must end.
const TAG_MAX: usize = 128;

/// A line whose head was understood.
pub(super) enum Head<'a> {
    /// A program's message.
    Message(LogMessage<'a>),
    /// The message before was repeated.
    Repeated { host: &'a [u8], times: u32 },
    /// A mark of the syslog daemon itself.
    Mark,
}

/// When a line was written.
pub(super) enum LineTime {
    At(Readings),
    /// The sender has no clock (RFC 5424, section 6.2.3).
    Nil,
}

/// Splits a line that follows the priority into its time and its head.
pub(super) fn split_head<'a>(
    calendar: &Calendar,
    line: &'a [u8],
) -> Result<(LineTime, Head<'a>), &'static str> {
    if let Some(rest) = line.strip_prefix(b"1 ") {
        return split_rfc5424(rest).ok_or("not a valid RFC 5424 header");
    }

    let cisco = split_sequence_number(line);
    let (at, rest) = calendar
        .split_time(cisco.map_or(line, |(_, rest)| rest))
        .ok_or("no syslog header: its time is not understood")?;
    if let Some(inner) = hybrid_message(rest) {
        return split_rfc5424(inner)
            .ok_or("an RFC 5424 message that is not valid within an RFC 3164 line");
    }

    let head = match cisco {
        Some((host, _)) => parse_cisco_head(host, rest),
        None => parse_head(rest),
    };
    let head = head.ok_or("no syslog header: no host and program before a colon")?;
    Ok((LineTime::At(at), head))
}

/// The facilities by number (RFC 5424, section 6.2.1), as rsyslog and syslog(3) name them.
const FACILITIES: [&[u8]; 24] = [
    b"kern",
    b"user",
    b"mail",
    b"daemon",
    b"auth",
    b"syslog",
    b"lpr",
    b"news",
    b"uucp",
    b"cron",
    b"authpriv",
    b"ftp",
    b"ntp",
    b"audit",
    b"alert",
    b"clock",
    b"local0",
    b"local1",
    b"local2",
    b"local3",
    b"local4",
    b"local5",
    b"local6",
    b"local7",
];

/// Returns the name of the facility in a priority that is a number.
pub(in crate::parsers) fn facility_name(number: &[u8]) -> Option<&'static [u8]> {
    let number: usize = str::from_utf8(number).ok()?.parse().ok()?;
    FACILITIES.get(number).copied()
}

/// Returns the name of the facility in `38`, `4.6` or `auth.info`; nothing if it has none.
fn facility_of(priority: &[u8]) -> &[u8] {
    let (facility, coded) = match priority.iter().position(|c| matches!(c, b'.' | b':')) {
        Some(dot) => (&priority[..dot], 1),
        None => (priority, 8),
    };
    match str::from_utf8(facility)
        .ok()
        .and_then(|text| text.parse::<usize>().ok())
    {
        Some(number) => FACILITIES.get(number / coded).copied().unwrap_or_default(),
        None => facility,
    }
}

/// Splits `<PRI>` from a line: a number, `facility.severity` in numbers, or the same in words.
/// Returns the name of its facility, which is empty where it says none.
pub(super) fn split_priority(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(rest) = line.strip_prefix(b"<") else {
        return Some((b"", line));
    };
    let end = memchr::memchr(b'>', &rest[..rest.len().min(24)])?;
    let priority = &rest[..end];
    let is_number =
        !priority.is_empty() && priority.len() <= 3 && priority.iter().all(u8::is_ascii_digit);
    (is_number || is_facility(priority))
        .then(|| (facility_of(priority), rest[end + 1..].trim_ascii_start()))
}

/// Strips what Cisco's devices put before the time, `29: router: 000031: `: numbers, and the host
/// between them. Returns the host, which is empty if it stands elsewhere, or `None` where there is
/// no number.
fn split_sequence_number(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut host, mut rest) = (&b""[..], line);
    let mut numbered = false;
    while let Some((word, after)) = split_word(rest)
        && let Some(word) = word.strip_suffix(b":")
        && !word.is_empty()
    {
        if word.iter().all(u8::is_ascii_digit) {
            numbered = true;
        } else if numbered && host.is_empty() {
            host = word;
        } else {
            break;
        }
        rest = after.trim_ascii_start();
    }

    numbered.then_some((host, rest))
}

/// Returns whether a word is `auth.info`, `4.6`, or AIX's `auth|security:info`.
fn is_facility(word: &[u8]) -> bool {
    const SEVERITIES: [&[u8]; 12] = [
        b"emerg", b"panic", b"alert", b"crit", b"err", b"error", b"warn", b"warning", b"notice",
        b"info", b"debug", b"none",
    ];
    let Some(dot) = word.iter().position(|c| matches!(c, b'.' | b':')) else {
        return false;
    };

    let (facility, severity) = (&word[..dot], &word[dot + 1..]);
    let named = !facility.is_empty()
        && facility
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'|' | b'-' | b'_'));
    let short =
        |word: &[u8]| !word.is_empty() && word.len() <= 3 && word.iter().all(u8::is_ascii_digit);
    (named && SEVERITIES.contains(&severity)) || (short(facility) && short(severity))
}

/// Splits off a facility where one stands, in angle brackets or without. Its name is empty where
/// none does.
fn split_facility(rest: &[u8]) -> (&[u8], &[u8]) {
    let Some((word, after)) = split_word(rest) else {
        return (b"", rest);
    };
    let inner = word
        .strip_prefix(b"<")
        .and_then(|word| word.strip_suffix(b">"))
        .unwrap_or(word);
    if is_facility(inner) {
        (facility_of(inner), after.trim_ascii_start())
    } else {
        (b"", rest)
    }
}

/// Parses `[facility ][host ][facility ]program[pid]: message`, the part after the time.
///
/// What syslog(3) writes to /dev/log names no host: the word after the time is then the tag.
fn parse_head<'a>(rest: &'a [u8]) -> Option<Head<'a>> {
    let (facility, rest) = split_facility(rest);
    if let Some(head) = parse_own_words(b"", rest) {
        return Some(head);
    }

    let (first, after) = split_word(rest).unwrap_or((rest, b""));
    // An IPv6 address may end with a colon, too.
    let is_tag = parse_address(first).is_none() && (first.ends_with(b":") || is_numbered(first));
    if let Some(message) = is_tag.then(|| parse_tag(b"", rest)).flatten() {
        return Some(Head::Message(message.of_facility(facility)));
    }

    let (host, (second, rest)) = (first, split_facility(after.trim_ascii_start()));
    let facility = if facility.is_empty() {
        second
    } else {
        facility
    };
    let of_facility = |message: LogMessage<'a>| Head::Message(message.of_facility(facility));
    if let Some(forwarded) = rest.strip_prefix(b"Message forwarded from ") {
        let (host, rest) = split_word(forwarded)?;
        return parse_tag(host.strip_suffix(b":")?, split_facility(rest).1).map(of_facility);
    }

    parse_own_words(host, rest).or_else(|| parse_tag(host, rest).map(of_facility))
}

/// Parses `[host: ]%FACILITY-SEVERITY-MNEMONIC: message`, and the form of other senders after the
/// number of Cisco's devices.
fn parse_cisco_head<'a>(host: &'a [u8], rest: &'a [u8]) -> Option<Head<'a>> {
    let next = split_word(rest)
        .filter(|(word, _)| word.ends_with(b":") && !word.starts_with(b"%") && !is_numbered(word));
    match next {
        Some((word, after)) if parse_tag(word, after).is_some() => {
            parse_tag(word.strip_suffix(b":")?, after).map(Head::Message)
        }
        _ if host.is_empty() => parse_head(rest),
        _ => parse_tag(host, rest).map(Head::Message),
    }
}

/// Returns whether a word is `program[123]:` or `program[123]`.
fn is_numbered(word: &[u8]) -> bool {
    let word = word.strip_suffix(b":").unwrap_or(word);
    word.strip_suffix(b"]")
        .and_then(|word| Some(&word[memchr::memrchr(b'[', word)? + 1..]))
        .is_some_and(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit))
}

/// Parses what a syslog daemon says itself: `last message repeated 5 times`, `-- MARK --`.
fn parse_own_words<'a>(host: &'a [u8], rest: &[u8]) -> Option<Head<'a>> {
    let words = rest.trim_ascii();
    if matches!(words, b"-- MARK --" | b"--MARK--") {
        return Some(Head::Mark);
    }

    // macOS puts dashes around it.
    let words = words.strip_prefix(b"--- ").unwrap_or(words);
    let words = words.strip_suffix(b" ---").unwrap_or(words);
    let repeated = [&b"last message repeated "[..], b"last message buffered "];
    let rest = repeated.iter().find_map(|own| words.strip_prefix(*own))?;
    let (times, noun) = split_word(rest)?;
    let times: u32 = std::str::from_utf8(times).ok()?.parse().ok()?;
    matches!(noun, b"times" | b"time").then(|| Head::Repeated {
        host,
        times: times.min(1_000_000),
    })
}

/// Parses `program[pid]: message`.
fn parse_tag<'a>(host: &'a [u8], rest: &'a [u8]) -> Option<LogMessage<'a>> {
    let near = &rest[..rest.len().min(TAG_MAX)];
    let end = near.iter().position(|c| matches!(c, b'[' | b':'))?;
    let (before, pid, after) = if near[end] == b'[' {
        let close = end + memchr::memchr(b']', &near[end..])?;
        if memchr::memchr(b' ', &near[end..close]).is_some() {
            return None;
        }
        (&rest[..end], &rest[end + 1..close], &rest[close + 1..])
    } else {
        (&rest[..end], &rest[..0], &rest[end..])
    };

    // macOS names a subsystem or a level between them.
    let colon = memchr::memchr(b':', &after[..after.len().min(TAG_MAX)])?;
    let plain = matches!(
        &after[..colon],
        [] | [b' ', b'<', .., b'>'] | [b' ', b'(', .., b')']
    );
    // The name of a program may hold blanks; only with a process ID is it certain to be one.
    let program = before.rsplit(|c| *c == b' ').next()?;
    if program.is_empty() || !plain || (pid.is_empty() && program.len() != before.len()) {
        return None;
    }

    let text = after.get(colon + 1..)?.trim_ascii_start();
    let message = LogMessage {
        program: without_path(program),
        host,
        pid,
        facility: b"",
        text: without_message_id(text),
    };

    Some(match program {
        b"kernel" => from_kernel(message).unwrap_or(message),
        _ => message,
    })
}

/// Returns the name of a program that is given with its path.
fn without_path(program: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', program) {
        Some(slash) if program.starts_with(b"/") => &program[slash + 1..],
        _ => program,
    }
}

/// Parses `[12.345] program[pid]: message`: what a program wrote to /dev/kmsg before a syslog
/// daemon ran.
fn from_kernel(message: LogMessage<'_>) -> Option<LogMessage<'_>> {
    let rest = message.text.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', rest)?;
    let uptime = rest[..end].trim_ascii();
    if !uptime.iter().all(|c| c.is_ascii_digit() || *c == b'.') {
        return None;
    }

    let rest = rest[end + 1..].trim_ascii_start();
    let (tag, _) = split_word(rest)?;
    let is_tag = tag.ends_with(b":") && is_numbered(tag);
    is_tag.then(|| parse_tag(message.host, rest)).flatten()
}

/// Strips `[ID 800047 auth.info] `, which Solaris puts before a message.
fn without_message_id(message: &[u8]) -> &[u8] {
    let rest = message
        .strip_prefix(b"[ID ")
        .and_then(|rest| rest.get(memchr::memchr(b']', rest)? + 1..));
    rest.map_or(message, <[u8]>::trim_ascii_start)
}

/// Returns the RFC 5424 message that stands where an RFC 3164 line has its tag, as TrueNAS writes
/// it, after its version.
fn hybrid_message(rest: &[u8]) -> Option<&[u8]> {
    let (_host, inner) = split_word(rest)?;
    let inner = split_priority(inner).and_then(|(_, inner)| inner.strip_prefix(b"1 "))?;
    let time = inner.split(|c| *c == b' ').next()?;
    let is_time = time == b"-" || (time.len() >= 20 && time.get(10) == Some(&b'T'));
    is_time.then_some(inner)
}

/// Parses an RFC 5424 line after `<PRI>1 `.
fn split_rfc5424(rest: &[u8]) -> Option<(LineTime, Head<'_>)> {
    let (time, rest) = split_word(rest)?;
    let (host, rest) = split_word(rest)?;
    let (program, rest) = split_word(rest)?;
    let (pid, rest) = split_word(rest)?;
    let (_msgid, rest) = split_word(rest)?;
    let at = if time == b"-" {
        LineTime::Nil
    } else {
        let at = model::Timestamp::parse(std::str::from_utf8(time).ok()?).ok()?;
        LineTime::At(at.into())
    };

    let text = after_structured_data(rest)?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let non_nil = |value| if value == b"-" { &b""[..] } else { value };
    Some((
        at,
        Head::Message(LogMessage {
            program: without_path(non_nil(program)),
            host: non_nil(host),
            pid: non_nil(pid),
            facility: b"",
            text: without_message_id(text),
        }),
    ))
}

/// Skips the structured data (RFC 5424, section 6.3).
fn after_structured_data(rest: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = rest.strip_prefix(b"-") {
        return Some(rest.trim_ascii_start());
    }

    let mut quoted = false;
    let mut escaped = false;
    let mut inside = false;
    for (i, c) in rest.iter().enumerate() {
        match c {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if inside => quoted = !quoted,
            b'[' if !quoted && !inside => inside = true,
            b']' if !quoted => inside = false,
            b' ' if !inside => return rest.get(i + 1..),
            _ if !inside => return None,
            _ => {}
        }
    }

    (!inside).then_some(&[])
}
