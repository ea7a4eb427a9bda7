//! What nginx appends to a message: `, client: A, server: S[, request: "R"][, subrequest: "…"][,
//! upstream: "…"][, host: "H"]
//! [, referrer: "F"]`, at most 2047 bytes in all.
//!
//! nginx escapes nothing. A path, a header or a user name in the message before may hold the same
//! words, and so may what was asked for and the referrer after it.

use std::net::IpAddr;

use memchr::memmem;

use super::address;

const CLIENT: &[u8] = b", client: ";
const SERVER: &[u8] = b", server: ";
const REQUEST: &[u8] = b", request: \"";
/// nginx cuts an entry to this length, and OpenResty to the second: the end may be missing, and the
/// client chose where.
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

/// Messages of which nginx writes every word before the client itself.
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

/// Finds what was appended to a message of an entry that is so long.
pub(super) fn find(message: &[u8], length: usize) -> Option<Appended<'_>> {
    if let Some(at) = certain(message) {
        let client = client(message, at).and_then(Client::address);
        return Some(Appended {
            at,
            client,
            request: request(message, at),
            unclear: client.is_none(),
        });
    }

    let mut places = places(message);
    let Some((at, first)) = places.next() else {
        // Perhaps half of it.
        let at = memmem::rfind(message, CLIENT)?;
        return Some(Appended {
            at,
            client: None,
            request: None,
            unclear: true,
        });
    };

    // Either of two may be the client's words. What follows a place does not tell them apart: a
    // client chooses what nginx writes after its own, as it chooses what a forged one goes on with.
    let unclear = CUT_AT.contains(&length) || places.any(|(_, other)| other != first);
    let client = first.address().filter(|_| !unclear);
    Some(Appended {
        at,
        client,
        request: request(message, at),
        unclear,
    })
}

/// Where nginx's own words about the client begin, if the message leaves no doubt about it: at the
/// first place, because nothing before it can hold these words. Requests and referrers come later.
fn certain(message: &[u8]) -> Option<usize> {
    if FIXED.iter().any(|fixed| message.starts_with(fixed)) {
        return memmem::find(message, CLIENT);
    }

    // A name is what stands before the first colon of what the client sent (RFC 7617), so that it
    // holds neither `": password mismatch` nor `, client: `; the name of the file is the
    // operator's.
    let name = message.strip_prefix(b"user \"")?;
    let from = message.len() - name.len();
    memmem::find_iter(message, CLIENT).find(|at| {
        let said = name.get(..at - from).unwrap_or_default();
        said.ends_with(b"\": password mismatch")
            || (said.ends_with(b"\"") && memmem::find(said, b"\" was not found in \"").is_some())
    })
}

/// Whom nginx names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Address(IpAddr),
    /// A Unix socket, which has no address.
    Socket,
}

impl Client {
    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Socket => None,
        }
    }
}

/// Where the client may begin, and who it is there.
fn places(message: &[u8]) -> impl Iterator<Item = (usize, Client)> {
    memmem::find_iter(message, CLIENT).filter_map(|at| Some((at, client(message, at)?)))
}

/// The client of `, client: A, server: S` at a place; none where nginx would not write this.
/// Without the server's name the address may be cut off.
fn client(message: &[u8], at: usize) -> Option<Client> {
    let text = message.get(at + CLIENT.len()..)?;
    let comma = memchr::memchr(b',', text)?;
    let client = match address(&text[..comma]) {
        Some(address) => Client::Address(address),
        None if text.starts_with(b"unix:") => Client::Socket,
        None => return None,
    };

    let server = text[comma..].strip_prefix(SERVER)?;
    let server = &server[..memchr::memchr(b',', server).unwrap_or(server.len())];
    memchr::memchr(b'"', server).is_none().then_some(client)
}

/// The request after the client at a place, as far as it can be told from what follows.
fn request(message: &[u8], at: usize) -> Option<&[u8]> {
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

/// Whether an entry whose message this begins goes on in the next line, whatever that looks like:
/// what belongs to a request ends with what is appended, and a path may hold newlines.
pub(super) fn goes_on(message: &[u8], length: usize) -> bool {
    // What nginx says of a connection that serves no request any more, and what it passes on, which
    // has lines of its own.
    let others = [
        &b"open socket #"[..],
        b"client ",
        b"FastCGI sent in stderr: ",
    ];
    length < CUT_AT[0] && !others.iter().any(|other| message.starts_with(other)) && !ends(message)
}

/// Whether nginx's own words may be in a line. Nothing in them is a newline, so that they end an
/// entry whatever the request and the referrer hold.
pub(super) fn ends(line: &[u8]) -> bool {
    certain(line).is_some() || places(line).next().is_some()
}
