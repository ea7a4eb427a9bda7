//! What nginx appends to a message: `, client: A, server: S[, request: "R"][, subrequest: "…"][, upstream: "…"][, host: "H"]
//! [, referrer: "F"]`, at most 2047 bytes in all.
//!
//! nginx escapes nothing. A path, a header or a user name in the message before may hold the same words, and so may what was
//! asked for and the referrer after it.

use std::net::IpAddr;

use memchr::memmem;

use super::address;

const CLIENT: &[u8] = b", client: ";
const SERVER: &[u8] = b", server: ";
/// nginx cuts an entry to this length, and OpenResty to the second: the end may be missing, and the client chose where.
const CUT_AT: [usize; 2] = [2047, 4095];

/// What was appended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Appended<'a> {
    /// Where it begins in the message.
    pub(super) at: usize,
    /// Nobody where the client could have written it.
    pub(super) client: Option<IpAddr>,
    pub(super) request: Option<&'a [u8]>,
    /// There is more than one way to read it.
    pub(super) unclear: bool,
}

/// Finds what was appended to a message of an entry that is so long.
pub(super) fn find(message: &[u8], length: usize) -> Option<Appended<'_>> {
    if let Some(at) = after_user(message) {
        let client = message.get(at + CLIENT.len()..).and_then(client);
        let request = read(message, at).and_then(|(found, _)| found.request);
        return Some(Appended { at, client, request, unclear: client.is_none() });
    }

    let complete = memmem::find_iter(message, CLIENT).filter_map(|at| read(message, at));
    let mut best: Option<(Appended<'_>, bool)> = None;
    for (next, plain) in complete {
        best = match best {
            Some((before, before_plain)) if before_plain == plain => {
                let unclear = before.unclear || before.client != next.client;
                Some((Appended { client: next.client.filter(|_| !unclear), unclear, ..next }, plain))
            }
            Some(before) if before.1 => Some(before),
            _ => Some((next, plain)),
        };
    }
    let cut = CUT_AT.contains(&length);
    match best {
        Some((found, _)) if cut => Some(Appended { client: None, unclear: true, ..found }),
        Some((found, _)) => Some(found),
        // Perhaps the half of it.
        None => memmem::rfind(message, CLIENT).map(|at| Appended { at, client: None, request: None, unclear: true }),
    }
}

/// Where the words about a user and their password end. A name is what stands before the first colon of what the client sent
/// (RFC 7617), so that it cannot hold the words that follow it here; the referrer can, but comes later. The first that nginx may
/// have written to the end is taken, and the first of all where the end is missing.
fn after_user(message: &[u8]) -> Option<usize> {
    let name = message.strip_prefix(b"user \"")?;
    let from = message.len() - name.len();
    let about_user = |at: &usize| {
        let said = name.get(..at - from).unwrap_or_default();
        said.ends_with(b"\": password mismatch")
            || (said.ends_with(b"\"") && memmem::find(said, b" was not found in \"").is_some())
    };
    let places = || memmem::find_iter(message, CLIENT).filter(about_user);
    places().find(|at| read(message, *at).is_some_and(|(_, plain)| plain)).or_else(|| places().next())
}

/// The client of `A, server: …`: without the server's name it may be cut off.
fn client(text: &[u8]) -> Option<IpAddr> {
    let comma = memchr::memchr(b',', text)?;
    text[comma..].starts_with(SERVER).then(|| address(&text[..comma])).flatten()
}

/// Reads what is appended at a place, to the end of the message; and whether the request is one, as it is in nearly every entry.
fn read(message: &[u8], at: usize) -> Option<(Appended<'_>, bool)> {
    let text = message.get(at + CLIENT.len()..)?;
    let comma = memchr::memchr(b',', text)?;
    let client = address(&text[..comma]);
    if client.is_none() && !text.starts_with(b"unix:") {
        return None;
    }
    let server = text[comma..].strip_prefix(SERVER)?;
    let (server, mut rest) = server.split_at(memchr::memchr(b',', server).unwrap_or(server.len()));
    if memchr::memchr(b'"', server).is_some() {
        return None;
    }

    let (mut request, mut plain) = (None, true);
    for key in [&b"login"[..], b"request", b"subrequest", b"upstream", b"host", b"referrer"] {
        let Some(value) =
            rest.strip_prefix(b", ").and_then(|r| r.strip_prefix(key)).and_then(|r| r.strip_prefix(b": \""))
        else {
            continue;
        };
        let end = end_of_value(value, key)?;
        match key {
            b"request" => (request, plain) = (Some(&value[..end]), is_request(&value[..end])),
            b"host" => plain &= !value[..end].iter().any(|c| matches!(c, b' ' | b'"')),
            _ => {}
        }
        rest = &value[end + 1..];
    }
    // The modules for streams and mail append other things.
    let complete = rest.is_empty() || rest.starts_with(b", bytes ") || rest.starts_with(b", upstream: ");
    complete.then_some((Appended { at, client, request, unclear: false }, plain))
}

/// Where a value ends: at the first quotation mark that something follows which nginx would write there.
fn end_of_value(value: &[u8], key: &[u8]) -> Option<usize> {
    if key == b"referrer" {
        return value.len().checked_sub(1).filter(|last| value[*last] == b'"');
    }
    memchr::memchr_iter(b'"', value).find(|at| {
        let after = &value[at + 1..];
        let next = [&b", subrequest: \""[..], b", upstream: \"", b", host: \"", b", referrer: \"", b", bytes "];
        after.is_empty() || next.iter().any(|next| after.starts_with(next))
    })
}

/// Whether it is `METHOD TARGET HTTP/N`, or a method and a target.
fn is_request(line: &[u8]) -> bool {
    let mut words = line.split(|c| *c == b' ');
    let method = words.next().is_some_and(|word| !word.is_empty() && word.iter().all(u8::is_ascii_uppercase));
    let target = words.next().is_some_and(|word| !word.is_empty());
    method && target && words.next().is_none_or(|word| word.starts_with(b"HTTP/")) && words.next().is_none()
}

/// Whether an entry whose message this begins goes on in the next line, whatever that looks like: what belongs to a request ends
/// with what is appended, and a path may hold newlines.
pub(super) fn goes_on(message: &[u8], length: usize) -> bool {
    // What nginx says of a connection that serves no request any more, and what it passes on, which has lines of its own.
    let others = [&b"open socket #"[..], b"client ", b"FastCGI sent in stderr: "];
    length < CUT_AT[0] && !others.iter().any(|other| message.starts_with(other)) && !ends(message)
}

/// Whether something was appended at the end of a line.
pub(super) fn ends(line: &[u8]) -> bool {
    memmem::find_iter(line, CLIENT).any(|at| read(line, at).is_some())
}
