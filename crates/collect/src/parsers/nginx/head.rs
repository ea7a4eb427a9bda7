//! What stands before the time of a line: the client, and what others put before the line.
//!
//! The server writes the client at its place. A virtual host before it is the client's word (the
//! `Host` header), and so is a user name after it. So a place that holds no client makes the line
//! unparsed: no other word is taken for one.

use std::net::IpAddr;

use memchr::memmem;
use model::address;

/// Client and user before the time of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// An address, a list of them, a host name, or `-`.
    pub(super) host: &'a [u8],
    pub(super) user: &'a [u8],
}

/// Parses `[VHOST ]HOST IDENT USER`.
pub(super) fn parse_head(head: &[u8]) -> Option<Head<'_>> {
    let (first, after_first) = split_host(head)?;
    let second = split_host(after_first);

    // An identity (RFC 1413) is not an address, so a word before an address is a virtual host,
    // which clients choose. If that is an address too, the identity must be missing, as it always
    // is in practice, because a client can claim any identity.
    if let Some((host, rest)) = second
        && address_of(host).is_some()
        && (is_virtual_host(first)
            || (address_of(first).is_some() && rest.starts_with(b"- "))
            || is_only_a_user(rest))
        && let Some(user) = user_after_identity(rest)
    {
        return Some(Head { host, user });
    }

    // A virtual host before a host name; it may be an address, as clients choose it.
    if let Some((host, rest)) = second
        && host != b"-"
        && (is_virtual_host(first) || address_of(first).is_some())
        && is_client(host)
        && rest.starts_with(b"- ")
    {
        return Some(Head {
            host,
            user: &rest[2..],
        });
    }

    let user = user_after_identity(after_first)?;
    let identity_is_missing = after_first.starts_with(b"- ");
    let known = address_of(first).is_some() || (is_client(first) && identity_is_missing);
    known.then_some(Head { host: first, user })
}

/// Returns whether no more than a user stands behind a client. Then the word before the client is a
/// virtual host, whatever it looks like: what a relay puts before a line is followed by all of it.
fn is_only_a_user(rest: &[u8]) -> bool {
    let user = rest.strip_prefix(b"- ");
    user.is_some_and(|user| !user.is_empty() && memchr::memchr(b' ', user).is_none())
}

/// Returns whether a word can be a virtual host and is no address. A time is none: it begins a line
/// that a relay put its own head before.
fn is_virtual_host(word: &[u8]) -> bool {
    let name = match memchr::memrchr(b':', word) {
        Some(at) if word[at + 1..].iter().all(u8::is_ascii_digit) => &word[..at],
        _ => word,
    };
    address_of(word).is_none() && !name.contains(&b':') && !name.starts_with(b"<")
}

/// Returns whether a server writes this for a client: an address, a list of them, a host name, or
/// what says that there is none.
pub(super) fn is_client(host: &[u8]) -> bool {
    let is_name = || {
        host.iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'))
    };
    address_of(host).is_some() || host.starts_with(b"unix:") || (!host.is_empty() && is_name())
}

fn address_of(host: &[u8]) -> Option<IpAddr> {
    address::client(str::from_utf8(host).ok()?)
}

/// Splits off a host: a word, a list with blanks after its commas, or what is in quotation marks.
fn split_host(head: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(quoted) = head.strip_prefix(b"\"") {
        let end = memchr::memchr(b'"', quoted)?;
        return Some((&quoted[..end], quoted[end + 1..].strip_prefix(b" ")?));
    }

    let mut end = memchr::memchr(b' ', head)?;
    while end > 0 && head[end - 1] == b',' {
        end += 1 + memchr::memchr(b' ', &head[end + 1..])?;
    }
    Some((&head[..end], &head[end + 1..]))
}

/// Returns the user after the identity, which is one word.
fn user_after_identity(rest: &[u8]) -> Option<&[u8]> {
    rest.get(memchr::memchr(b' ', rest)? + 1..)
}

/// Strips what container runtimes put before a line: `TIME stdout F ` (CRI), `NAME  | ` (docker
/// compose), `[pod/NAME] ` (kubectl). `None` where there is none of these.
pub(super) fn without_container(line: &[u8]) -> Option<&[u8]> {
    for mark in [&b" stdout F "[..], b" stderr F "] {
        if let Some(at) = memmem::find(&line[..line.len().min(64)], mark)
            && model::Timestamp::parse(str::from_utf8(&line[..at]).ok()?).is_ok()
        {
            return Some(&line[at + mark.len()..]);
        }
    }

    let near = &line[..line.len().min(128)];
    if line.starts_with(b"[pod/") {
        return Some(&line[memmem::find(near, b"] ")? + 2..]);
    }

    let bar = memmem::find(near, b" | ")?;
    let name = near[..bar].trim_ascii_end();
    let is_name = !name.is_empty()
        && name
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'));
    is_name.then(|| line[bar + 3..].trim_ascii_start())
}

/// Undoes the quotation of a whole line: `"… \"GET / HTTP/1.1\" …"`, or with doubled marks.
pub(super) fn unquoted(line: &[u8]) -> Option<Vec<u8>> {
    let inner = line.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let escape = if memmem::find(inner, b"] \\\"").is_some() {
        b'\\'
    } else if memmem::find(inner, b"] \"\"").is_some() {
        b'"'
    } else {
        return None;
    };

    let mut line = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = byte == escape && bytes.peek().is_some_and(|c| matches!(c, b'"' | b'\\'));
        line.push(if escaped { bytes.next()? } else { byte });
    }
    Some(line)
}
