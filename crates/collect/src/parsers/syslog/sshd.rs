//! Logins in the messages of sshd.
//!
//! sshd writes `RESULT METHOD for [invalid user ]USER from HOST port N ssh2[: KEY]` (`auth_log` in
//! its auth.c). The client chooses the name of an unknown user, and the identity in a
//! certificate, which is part of KEY. Only public keys have a KEY, and the name of an existing user
//! cannot hold a tail like this one. `error: PAM: REASON for [illegal user ]USER from HOST`
//! (`sshpam_query` in auth-pam.c) ends with what the server wrote.

use std::net::IpAddr;

use memchr::memmem;
use model::civil::Readings;
use model::event::{Details, UserId};
use model::{Category, Outcome, SecurityEvent, Source, Text, Timestamp};

use super::super::{LineId, Parsed};
use super::pam::PamLine;
use super::programs::{Activity, Remote, build_event};
use super::{LogMessage, split_word};
use crate::sequence::{Attempt, Evidence, Kind, Line, Note, hash_parts};
use crate::text::{lossy_text, parse_address, unnamed_origin};

/// The mark between the user name and what sshd knows of the client.
const FROM: &[u8] = b" from ";

/// The beginnings of messages about a connection that has ended.
const ENDINGS: [&[u8]; 7] = [
    b"Connection closed by ",
    b"Connection reset by ",
    b"Disconnected from ",
    b"Disconnecting",
    b"Received disconnect from ",
    b"Timeout before authentication for ",
    b"fatal: ",
];

/// A login attempt, as far as its message tells.
struct LoginAttempt<'a> {
    user: Text<'a>,
    host: Option<IpAddr>,
    result: Outcome,
    /// How often the message was repeated.
    times: u32,
}

/// Returns what a message of sshd means.
pub(super) fn read_message(logged: LogMessage<'_>, at: Readings, id: LineId) -> Line<'_> {
    let (times, message) = split_repetition(logged.text);
    let note = |evidence, client: Option<u64>| {
        let process = (!logged.pid.is_empty()).then(|| hash_parts(&[logged.host, logged.pid]));
        let host = hash_parts(&[logged.host]);
        let attempt = Attempt {
            evidence,
            host,
            process,
            client,
            at: at.first,
        };
        Some(Note::new(host, Some(at), Kind::Attempt(attempt)))
    };

    if let Some((attempt, evidence)) = parse_login(message, times) {
        let client = attempt
            .host
            .map(|ip| client_hash(&logged, ip.to_string().as_bytes()));
        return Line {
            parsed: Parsed::Event(attempt.into_event(logged.host, at.first, id)),
            note: note(evidence, client),
        };
    }

    if let Some((activity, evidence)) = parse_pam_failure(&logged, message) {
        let client = match activity.remote() {
            Remote::Host(host) => Some(match parse_address(host) {
                Some(ip) => client_hash(&logged, ip.to_string().as_bytes()),
                None => client_hash(&logged, &host.to_ascii_lowercase()),
            }),
            Remote::Unknown | Remote::Unclear => None,
        };

        let activity = activity.repeated_again(times);
        let logged = LogMessage {
            program: b"sshd",
            ..logged
        };
        return Line {
            parsed: Parsed::Event(build_event(&activity, &logged, at.first, id)),
            note: note(evidence, client),
        };
    }

    if ENDINGS.iter().any(|ending| message.starts_with(ending)) {
        return Line {
            parsed: Parsed::Nothing,
            note: note(Evidence::Ended, None),
        };
    }

    Line::at(Parsed::Nothing, Some(at)).of_host(logged.host)
}

fn client_hash(logged: &LogMessage<'_>, client: &[u8]) -> u64 {
    hash_parts(&[logged.host, client])
}

/// Parses what PAM says of a refused attempt: by sshd, or by a module within it.
fn parse_pam_failure<'a>(
    logged: &LogMessage<'a>,
    message: &'a [u8],
) -> Option<(Activity<'a>, Evidence)> {
    if let Some(rest) = message.strip_prefix(b"error: PAM: ") {
        return Some((parse_pam_error(rest)?, Evidence::Interactive));
    }

    let line = PamLine::split(logged.program, message).filter(|line| line.is_failure())?;
    let evidence = Evidence::Module(hash_parts(&[line.module]));
    Some((line.activity()?, evidence))
}

/// Parses `REASON for [illegal user ]USER from HOST[ via LOCAL]`. macOS appends its own address.
fn parse_pam_error(message: &[u8]) -> Option<Activity<'_>> {
    // The only reason with these words.
    let retries = b"Have exhausted maximum number of retries for service";
    let from = if message.starts_with(retries) {
        retries.len()
    } else {
        0
    };
    let name = from + memmem::find(&message[from..], b" for ")? + 5;
    let rest = &message[name..];
    let rest = rest
        .strip_prefix(b"illegal user ")
        .or_else(|| rest.strip_prefix(b"invalid user "))
        .unwrap_or(rest);

    // The client may have sent the mark in its name; what follows the last one is the server's.
    let at = memmem::rfind(rest, FROM)?;
    let (user, tail) = (&rest[..at], rest[at + FROM.len()..].trim_ascii_end());
    let tail = tail.strip_suffix(b" [preauth]").unwrap_or(tail);
    let host = match split_word(tail) {
        None => tail,
        Some((host, via)) if via.starts_with(b"via ") => host,
        Some(_) => b"",
    };
    let remote = if host.is_empty() {
        Remote::Unclear
    } else {
        Remote::Host(host)
    };

    Some(
        Activity::new(Category::Auth, "login_failed", Outcome::Failure)
            .on_account(user)
            .with_remote(remote),
    )
}

/// Parses a message about a login that counts by itself.
fn parse_login(message: &[u8], times: u32) -> Option<(LoginAttempt<'_>, Evidence)> {
    let (result, rest) = if let Some(rest) = message.strip_prefix(b"Failed ") {
        (Outcome::Failure, rest)
    } else {
        (Outcome::Success, message.strip_prefix(b"Accepted ")?)
    };

    let (method, rest) = split_word(rest)?;
    let interactive = method.starts_with(b"keyboard-interactive");
    let counts = method == b"password" || method == b"publickey" || interactive;
    if result == Outcome::Failure && !counts {
        return None;
    }

    let rest = rest.strip_prefix(b"for ")?;
    let unknown = rest
        .strip_prefix(b"invalid user ")
        .or_else(|| rest.strip_prefix(b"illegal user "));
    let tail = match (unknown, method) {
        // No key follows, so sshd wrote the end of the line, whatever the name holds.
        (Some(name), method) if method != b"publickey" => Tail::last_in(name),
        (Some(name), _) => Tail::only_in(name),
        (None, _) => Tail::first_in(rest),
    };

    let whole = unknown.unwrap_or(rest);
    let user = lossy_text(tail.as_ref().map_or(whole, |tail| &whole[..tail.at]));
    let attempt = LoginAttempt {
        user,
        host: tail.and_then(|tail| tail.host),
        result,
        times,
    };
    let evidence = match result {
        Outcome::Success => Evidence::Accepted,
        _ => Evidence::Failed { interactive },
    };

    Some((attempt, evidence))
}

impl<'a> LoginAttempt<'a> {
    fn into_event(self, logging_host: &[u8], at: Timestamp, id: LineId) -> SecurityEvent<'a> {
        let Self {
            user,
            host,
            result,
            times,
        } = self;
        let action = if result == Outcome::Success {
            "login"
        } else {
            "login_failed"
        };

        let mut event = SecurityEvent::new(
            id.event_id(at),
            at,
            Source::Syslog,
            Category::Auth,
            action.into(),
            result,
        );
        if result == Outcome::Success {
            event.user_id = Some(UserId::Name(user.clone()));
        }

        event.account_name = Some(user);
        event.ip_address = host;
        event.resource_type = Some("sshd".into());
        event.occurrences = times;

        if host.is_none() {
            // Counted by the logging host: a client that can keep its address out of the line may
            // use a new connection for each attempt.
            event.details = Details::from_json(unnamed_origin(logging_host));
        }

        event.classify()
    }
}

/// The part that sshd appends to the user name.
struct Tail {
    /// Where it begins.
    at: usize,
    /// `None` where it is missing or not certain.
    host: Option<IpAddr>,
}

impl Tail {
    /// Finds the tail that ends the line.
    fn last_in(line: &[u8]) -> Option<Self> {
        let at = memmem::rfind(line, FROM)?;
        let host = parse_tail(&line[at + FROM.len()..])
            .filter(|(_, key)| key.is_empty())
            .and_then(|(host, _)| host);
        Some(Self { at, host })
    }

    /// Finds the first tail.
    fn first_in(line: &[u8]) -> Option<Self> {
        let mut places = memmem::find_iter(line, FROM);
        let found = places
            .find_map(|at| parse_tail(&line[at + FROM.len()..]).map(|(host, _)| Self { at, host }));
        found.or_else(|| Self::last_in(line))
    }

    /// Finds the only tail with a valid key. With several the host is `None`, because either may be
    /// the client's words.
    fn only_in(line: &[u8]) -> Option<Self> {
        let mut found: Option<Self> = None;
        for at in memmem::find_iter(line, FROM) {
            let Some((host, key)) = parse_tail(&line[at + FROM.len()..]) else {
                continue;
            };
            if !is_key_info(key) {
                continue;
            }

            found = match found {
                Some(Self { at, host: other }) if other == host => Some(Self { at, host }),
                Some(Self { at, .. }) => Some(Self { at, host: None }),
                None => Some(Self { at, host }),
            };
        }

        found.or_else(|| Self::last_in(line))
    }
}

/// Parses host and key of `HOST[ port N[ ssh2]][: KEY]`; old versions wrote no port.
fn parse_tail(text: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let text = text
        .strip_suffix(b" [preauth]")
        .unwrap_or(text)
        .trim_ascii_end();
    let (host, rest) = text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()));
    let Some(rest) = rest.strip_prefix(b" port ") else {
        return rest.is_empty().then(|| (parse_address(host), rest));
    };
    let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    let (port, rest) = rest.split_at(digits);

    let rest = rest
        .strip_prefix(b" ssh2")
        .or_else(|| rest.strip_prefix(b" ssh1"))
        .unwrap_or(rest);
    let key = rest
        .strip_prefix(b": ")
        .or_else(|| rest.is_empty().then_some(rest))?;
    (!port.is_empty()).then(|| (parse_address(host), key))
}

/// Returns whether KEY is empty, `TYPE FINGERPRINT`, or `TYPE-CERT [FINGERPRINT ]ID … (serial N) CA
/// TYPE FINGERPRINT`.
fn is_key_info(key: &[u8]) -> bool {
    let words = || key.split(|c| *c == b' ');
    let Some(kind) = words().next().filter(|kind| !kind.is_empty()) else {
        return key.is_empty();
    };
    if !kind.ends_with(b"-CERT") {
        return words().count() <= 2;
    }

    let Some(ca) = memmem::rfind(key, b") CA ") else {
        return false;
    };
    memmem::find(key, b" ID ").is_some_and(|id| id < ca)
        && key[ca + 5..].split(|c| *c == b' ').count() == 2
}

/// Splits `message repeated 5 times: [ … ]` into count and message.
fn split_repetition(message: &[u8]) -> (u32, &[u8]) {
    let inner = || {
        let rest = message.strip_prefix(b"message repeated ")?;
        let (times, rest) = split_word(rest)?;
        let times: u32 = std::str::from_utf8(times).ok()?.parse().ok()?;
        let rest = rest.strip_prefix(b"times: [")?.trim_ascii();
        Some((
            times.clamp(1, 1_000_000),
            rest.strip_suffix(b"]").unwrap_or(rest).trim_ascii(),
        ))
    };

    inner().unwrap_or((1, message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLIENT: &str = "203.0.113.9";
    /// Parts of messages with a meaning, and variations that attackers may send.
    const NASTY: &str = "( from 9.9.9.9 port 1 ssh2| port 7|-CERT |ssh2: |: RSA SHA256:x|: \
        RSA-CERT SHA256:x ID y |\
        \\(serial 1\\) CA RSA SHA256:z|message repeated 9 times: \\[ \
        |\\]|\\[|\"|#012|#000|\\PC{0,9}|::1| from | for |invalid user ){0,6}";

    fn describe(message: &[u8]) -> Option<(Option<String>, Option<String>, u32, Outcome)> {
        let logged = LogMessage {
            program: b"sshd",
            host: b"web1",
            pid: b"7",
            facility: b"",
            text: message,
        };

        let at = Timestamp::from_secs(1_772_712_451);
        let id = LineId {
            file: 7,
            offset: 42,
        };
        match read_message(logged, at.into(), id).parsed {
            Parsed::Event(e) => Some((
                e.ip_address.map(|ip| ip.to_string()),
                e.account_name.map(|name| name.to_string()),
                e.occurrences,
                e.result,
            )),
            Parsed::Nothing | Parsed::Rejected(_) => None,
        }
    }

    #[test]
    fn only_the_words_of_sshd_name_the_client() {
        let named = |host: &str, user: &str| Some((Some(host.to_owned()), Some(user.to_owned())));
        let unnamed = |user: &str| Some((None, Some(user.to_owned())));
        let cases = [
            (
                "Failed password for invalid user a-CERT b from 203.0.113.9 port 22 ssh2",
                named(CLIENT, "a-CERT b"),
            ),
            (
                "Failed password for invalid user x from 9.9.9.9 port 1 ssh2: RSA-CERT z from \
                    203.0.113.9 port 22 ssh2",
                named(CLIENT, "x from 9.9.9.9 port 1 ssh2: RSA-CERT z"),
            ),
            (
                "Failed publickey for invalid user x from 9.9.9.9 port 1 ssh2: z from 203.0.113.9 \
                    port 22 ssh2: RSA SHA256:k",
                named(CLIENT, "x from 9.9.9.9 port 1 ssh2: z"),
            ),
            (
                "Failed publickey for ann from 203.0.113.9 port 22 ssh2: RSA-CERT SHA256:x ID y \
                    from 9.9.9.9 port 1 ssh2",
                named(CLIENT, "ann"),
            ),
            // Either the name or the identity in a certificate.
            (
                "Failed publickey for invalid user x from 203.0.113.9 port 22 ssh2: RSA-CERT \
                    SHA256:x ID y from 9.9.9.9 port 1 ssh2: RSA-CERT SHA256:x ID z (serial 1) \
                    CA RSA SHA256:k",
                unnamed("x"),
            ),
            (
                "Failed password for illegal user x from 203.0.113.9 port 22 ssh2",
                named(CLIENT, "x"),
            ),
            (
                "Failed password for root from 203.0.113.9 port 22",
                named(CLIENT, "root"),
            ),
            (
                "Failed password for root from 203.0.113.9",
                named(CLIENT, "root"),
            ),
            (
                "Failed password for root from UNKNOWN port 65535 ssh2",
                unnamed("root"),
            ),
            ("Failed password for root", unnamed("root")),
            (
                "Failed publickey for root from 203.0.113.9 port 22 ssh2 [preauth]",
                named(CLIENT, "root"),
            ),
            (
                "Accepted publickey for ann from ::1 port 5 ssh2: RSA SHA256:x",
                named("::1", "ann"),
            ),
        ];

        for (message, expected) in cases {
            assert_eq!(
                describe(message.as_bytes()).map(|(host, user, ..)| (host, user)),
                expected,
                "{message}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_user_name_hides_its_client_or_names_another(
            name in NASTY,
            raw in proptest::collection::vec(1_u8..=255, 0..9),
            many in 1_u32..4,
        ) {
            let mut sent = name.into_bytes();
            sent.extend(raw.iter().filter(|c| **c != b'\n'));
            for (method, host) in [
                ("password", CLIENT),
                ("keyboard-interactive/pam", "2001:db8::1"),
                ("publickey", CLIENT),
            ] {
                let mut line = format!("Failed {method} for invalid user ").into_bytes();
                line.extend_from_slice(&sent);
                line.extend(format!(" from {host} port 22 ssh2").bytes());
                let mut repeated = format!("message repeated {many} times: [ ").into_bytes();
                repeated.extend_from_slice(&line);
                repeated.push(b']');

                for (line, times) in [(line, 1), (repeated, many)] {
                    let Some((address, _, counted, result)) = describe(&line) else {
                        panic!("not counted: {}", String::from_utf8_lossy(&line))
                    };
                    prop_assert_eq!((counted, result), (times, Outcome::Failure));
                    let named = address.as_deref() == Some(host);
                    let unnamed = method == "publickey" && address.is_none();
                    prop_assert!(named || unnamed, "{:?}", address);
                }
            }
        }

        #[test]
        fn no_user_name_changes_what_pam_said(
            name in NASTY,
            raw in proptest::collection::vec(any::<u8>(), 0..9),
            of_macos in any::<bool>(),
        ) {
            let mut line = b"error: PAM: User not known to the underlying authentication module for \
                illegal user ".to_vec();
            line.extend(name.bytes());
            line.extend_from_slice(&raw);
            line.extend(format!(" from {CLIENT}").bytes());
            if of_macos {
                line.extend_from_slice(b" via 192.0.2.1");
            }
            let (address, ..) = describe(&line).unwrap();
            prop_assert_eq!(address.as_deref(), Some(CLIENT), "{}", String::from_utf8_lossy(&line));
        }

        #[test]
        fn no_certificate_names_another_client(identity in NASTY) {
            let key = format!("RSA-CERT SHA256:x ID {identity} (serial 0) CA RSA SHA256:k");
            for (user, may_be_unnamed) in [("ann", false), ("invalid user x", true)] {
                let line = format!("Failed publickey for {user} from {CLIENT} port 22 ssh2: {key}");
                let (address, ..) = describe(line.as_bytes()).unwrap();
                let named = address.as_deref() == Some(CLIENT);
                let unnamed = may_be_unnamed && address.is_none();
                prop_assert!(named || unnamed, "{:?} of {}", address, line);
            }
        }
    }
}
