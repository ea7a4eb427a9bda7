//! Finds what nginx appends to a message: `, client: A, server: S[, request: "R"]
//! [, subrequest: "…"][, upstream: "…"][, host: "H"][, referrer: "F"]`, at most 2047 bytes in all.
//!
//! nginx escapes nothing. A path, a header or a user name in the message before it may hold the
//! same words, and so may the request and the referrer.

use std::net::IpAddr;

use memchr::memmem;

use super::parse_address;

const CLIENT: &[u8] = b", client: ";
const SERVER: &[u8] = b", server: ";
const REQUEST: &[u8] = b", request: \"";
/// nginx cuts an entry to the first length, OpenResty to the second. The end may be missing, and
/// the client chooses where.
const CUT_AT: [usize; 2] = [2047, 4095];

/// The fields that nginx appended to a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Appended<'a> {
    /// Where they begin in the message.
    pub(super) at: usize,
    /// `None` where the client could have written the address.
    pub(super) client: Option<IpAddr>,
    pub(super) request: Option<&'a [u8]>,
    /// Whether the message can be read in more than one way.
    pub(super) unclear: bool,
}

/// Beginnings of messages that hold no words of the client before the appended fields.
const FIXED: [&[u8]; 16] = [
    b"access forbidden by rule",
    b"client intended to send too large ",
    b"connect() failed (",
    b"delaying request, excess: ",
    b"limiting connections by zone ",
    b"limiting requests, excess: ",
    b"no live upstreams ",
    b"recv() failed (",
    b"send() failed (",
    b"writev() failed (",
    b"SSL_do_handshake() failed ",
    b"SSL_read() failed ",
    b"SSL_write() failed ",
    b"upstream prematurely closed connection",
    b"upstream timed out (",
    b"peer closed connection in SSL handshake",
];

/// Finds what was appended to a message of an entry of `length` bytes.
pub(super) fn find_appended(message: &[u8], length: usize) -> Option<Appended<'_>> {
    if let Some(at) = find_certain(message) {
        let client = parse_client(message, at).and_then(Client::ip_address);
        return Some(Appended {
            at,
            client,
            request: find_request(message, at),
            unclear: client.is_none(),
        });
    }

    let mut candidates = possible_clients(message);
    let Some((at, first)) = candidates.next() else {
        // The end of the entry may be cut off.
        let at = memmem::rfind(message, CLIENT)?;
        return Some(Appended {
            at,
            client: None,
            request: None,
            unclear: true,
        });
    };

    // Either of two may be the client's words. What follows does not tell them apart: a client
    // chooses what nginx writes after its address, as it chooses what follows a forged one.
    let unclear = CUT_AT.contains(&length) || candidates.any(|(_, other)| other != first);
    let client = first.ip_address().filter(|_| !unclear);
    Some(Appended {
        at,
        client,
        request: find_request(message, at),
        unclear,
    })
}

/// Returns where nginx's own words about the client begin, if the message leaves no doubt: at the
/// first occurrence, if nothing before it can hold these words. Requests and referrers come later.
fn find_certain(message: &[u8]) -> Option<usize> {
    if FIXED.iter().any(|fixed| message.starts_with(fixed)) {
        return memmem::find(message, CLIENT);
    }

    // A user name ends at the first colon of the credentials (RFC 7617), so it holds neither
    // `": password mismatch` nor `, client: `. The operator chooses the name of the file.
    let name = message.strip_prefix(b"user \"")?;
    let from = message.len() - name.len();
    memmem::find_iter(message, CLIENT).find(|at| {
        let said = name.get(..at - from).unwrap_or_default();
        said.ends_with(b"\": password mismatch")
            || (said.ends_with(b"\"") && memmem::find(said, b"\" was not found in \"").is_some())
    })
}

/// The client that nginx names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Address(IpAddr),
    /// A Unix socket, which has no address.
    Socket,
}

impl Client {
    fn ip_address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Socket => None,
        }
    }
}

/// Iterates over the offsets where the client may be named, and the clients.
fn possible_clients(message: &[u8]) -> impl Iterator<Item = (usize, Client)> {
    memmem::find_iter(message, CLIENT).filter_map(|at| Some((at, parse_client(message, at)?)))
}

/// Parses the client of `, client: A, server: S` at `at`; `None` where nginx would not write this.
/// Without the server's name the address may be cut off.
fn parse_client(message: &[u8], at: usize) -> Option<Client> {
    let text = message.get(at + CLIENT.len()..)?;
    let comma = memchr::memchr(b',', text)?;
    let client = match parse_address(&text[..comma]) {
        Some(address) => Client::Address(address),
        None if text.starts_with(b"unix:") => Client::Socket,
        None => return None,
    };

    let server = text[comma..].strip_prefix(SERVER)?;
    let server = &server[..memchr::memchr(b',', server).unwrap_or(server.len())];
    memchr::memchr(b'"', server).is_none().then_some(client)
}

/// Finds the request after the client at `at`, if its end is recognizable.
fn find_request(message: &[u8], at: usize) -> Option<&[u8]> {
    let text = message.get(at + CLIENT.len()..)?;
    let value = &text[memmem::find(text, REQUEST)? + REQUEST.len()..];
    let end = memchr::memchr_iter(b'"', value).find(|end| {
        let after = &value[end + 1..];
        let next = [
            &b", subrequest: \""[..],
            b", upstream: \"",
            b", host: \"",
            b", referrer: \"",
        ];
        after.is_empty() || next.iter().any(|next| after.starts_with(next))
    });

    Some(&value[..end?])
}

/// Returns whether an entry that begins with this message continues in the next line, whatever that
/// looks like: a message about a request ends with the appended fields, and a path may hold
/// newlines.
pub(super) fn continues(message: &[u8], length: usize) -> bool {
    // Messages about connections that serve no request, and output of FastCGI, which has lines of
    // its own.
    let others = [
        &b"open socket #"[..],
        b"client ",
        b"FastCGI sent in stderr: ",
    ];
    length < CUT_AT[0]
        && !others.iter().any(|other| message.starts_with(other))
        && !has_appended(message)
}

/// Returns whether a line may hold the appended fields. They contain no newline, so they end an
/// entry whatever request and referrer hold.
pub(super) fn has_appended(line: &[u8]) -> bool {
    find_certain(line).is_some() || possible_clients(line).next().is_some()
}
