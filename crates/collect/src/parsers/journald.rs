//! systemd's journal as exported by `journalctl -o json`. Its messages mean what the same messages
//! mean in syslog.

use std::borrow::Cow;

use model::{Source, Timestamp};
use serde_json::{Map, Value};

use super::{Format, LineId, LineParser, ParseContext, Parsed, syslog};
use crate::sequence::Line;
use crate::text::without_padding;

/// The journald format.
pub const FORMAT: Format = Format {
    name: "journald",
    description: "the journal as `journalctl -o json` exports it: sshd, sudo, su, PAM, accounts, \
        logind",
    source: Source::Syslog,
    entry_rules: None,
    parser: |_: ParseContext| Box::new(Journal),
};

struct Journal;

/// Returns the cursor of an entry, or `None` if it has none that is safe to pass to `journalctl`.
/// The cursor usually comes first and is found without reading the rest; `journalctl` does not
/// guarantee an order.
pub fn find_cursor(line: &[u8]) -> Option<Cow<'_, str>> {
    let found = match leading_cursor(line) {
        Some(found) => Cow::Borrowed(found),
        // The JSON reader tells a key from text in a message.
        None => match serde_json::from_slice(line).ok()? {
            Value::Object(mut object) => match object.remove("__CURSOR")? {
                Value::String(text) => Cow::Owned(text),
                _ => return None,
            },
            _ => return None,
        },
    };

    // The cursor becomes an argument of `journalctl`.
    let plain = found
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b';'));
    (plain && !found.is_empty()).then_some(found)
}

/// Returns the cursor of a line that begins with it.
fn leading_cursor(line: &[u8]) -> Option<&str> {
    let rest = line
        .trim_ascii_start()
        .strip_prefix(b"{")?
        .trim_ascii_start()
        .strip_prefix(b"\"__CURSOR\"")?;
    let rest = rest
        .trim_ascii_start()
        .strip_prefix(b":")?
        .trim_ascii_start()
        .strip_prefix(b"\"")?;

    std::str::from_utf8(rest.get(..memchr::memchr(b'"', rest)?)?).ok()
}

/// Derives the ID of the entry with this cursor from boot, monotonic time and hash of the content,
/// or from the whole cursor if it lacks them. The journal's ID and the entry's number in it are
/// left out, because the same entry can be in two files.
pub fn line_id(cursor: &str) -> LineId {
    // FNV-1a, because IDs must stay the same across versions.
    let hash = |text: &str| {
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
            (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        })
    };

    let part = |key: &str| cursor.split(';').find_map(|part| part.strip_prefix(key));
    match (part("b="), part("m="), part("x=")) {
        (Some(boot), Some(time), Some(content)) => LineId {
            file: hash(boot) as u32,
            offset: hash(time) ^ hash(content).rotate_left(17),
        },
        _ => LineId {
            file: 0,
            offset: hash(cursor),
        },
    }
}

/// Returns the bytes of a field, which is a string, or a list of numbers where it is not UTF-8.
fn field_bytes(object: &Map<String, Value>, key: &str) -> Option<Vec<u8>> {
    match object.get(key)? {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(numbers) => numbers
            .iter()
            .map(|n| n.as_u64().and_then(|n| u8::try_from(n).ok()))
            .collect(),
        _ => None,
    }
}

/// Programs that run with the rights of their owner, whoever starts them; their entries have the
/// user's `_UID`.
const SETUID: [&[u8]; 9] = [
    b"sudo",
    b"su",
    b"passwd",
    b"chsh",
    b"chfn",
    b"newgrp",
    b"gpasswd",
    b"pkexec",
    b"unix_chkpwd",
];
/// Folders into which only administrators can put programs.
const SYSTEM_FOLDERS: [&[u8]; 5] = [b"/usr/", b"/bin/", b"/sbin/", b"/nix/store/", b"/snap/"];

/// Returns the program that wrote an entry, or `None` if nothing that journald or the kernel says
/// shows that its text can be believed. `SYSLOG_IDENTIFIER` is the process's own choice, and a
/// process can also choose its name (`_COMM`) or be a copy of sshd in a home folder; it cannot
/// choose its user (`_UID`) or the file that it runs (`_EXE`).
fn trusted_program(object: &Map<String, Value>) -> Option<Vec<u8>> {
    let command = field_bytes(object, "_COMM");
    match field_bytes(object, "_UID") {
        // Whoever is root can write anything into the journal.
        Some(user) if user == b"0" => command.or_else(|| field_bytes(object, "SYSLOG_IDENTIFIER")),
        Some(_) => {
            let file = field_bytes(object, "_EXE")?;
            let name = file.rsplit(|b| *b == b'/').next()?;
            let system = SYSTEM_FOLDERS.iter().any(|folder| file.starts_with(folder))
                && memchr::memmem::find(&file, b"/../").is_none();
            (system && SETUID.contains(&name)).then(|| name.to_vec())
        }
        // An export of chosen fields, or an entry of the kernel.
        None => command.or_else(|| {
            let transport = field_bytes(object, "_TRANSPORT")?;
            (transport == b"kernel").then(|| b"kernel".to_vec())
        }),
    }
}

impl LineParser for Journal {
    fn parse<'a>(&self, line: &'a [u8], id: LineId) -> Parsed<'a> {
        self.read(line, id).parsed
    }

    fn read<'a>(&self, line: &'a [u8], id: LineId) -> Line<'a> {
        let line = without_padding(line).trim_ascii();
        if line.is_empty() {
            return Parsed::Nothing.into();
        }

        let Some(object) = crate::json::parse_object(line) else {
            return Parsed::Rejected("not a JSON object".to_owned()).into();
        };
        let micros = object
            .get("__REALTIME_TIMESTAMP")
            .and_then(Value::as_str)
            .and_then(|t| t.parse().ok());
        let Some(at) = micros
            .filter(|micros| (0..i64::MAX / 8).contains(micros))
            .map(Timestamp::from_micros)
        else {
            return Parsed::Rejected("no __REALTIME_TIMESTAMP".to_owned()).into();
        };

        let Some(program) = trusted_program(&object) else {
            return Line::at(Parsed::Nothing, Some(at.into()));
        };
        let mut text = field_bytes(&object, "MESSAGE").unwrap_or_default();

        // The journal strips trailing blanks, but a blank at the end tells what PAM wrote from what
        // a client sent.
        if text.starts_with(b"pam_") {
            text.push(b' ');
        }

        let host = field_bytes(&object, "_HOSTNAME").unwrap_or_default();
        let pid = field_bytes(&object, "_PID").unwrap_or_default();
        let number = field_bytes(&object, "SYSLOG_FACILITY").unwrap_or_default();
        let message = syslog::LogMessage {
            program: &program,
            host: &host,
            pid: &pid,
            facility: syslog::facility_name(&number).unwrap_or_default(),
            text: &text,
        };

        let Line { parsed, note } = syslog::classify_message(message, at.into(), id);
        let parsed = match parsed {
            Parsed::Event(event) => Parsed::Event(event.into_owned()),
            Parsed::Nothing => Parsed::Nothing,
            Parsed::Rejected(why) => Parsed::Rejected(why),
        };
        Line { parsed, note }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: LineId = LineId {
        file: 7,
        offset: 42,
    };

    fn describe(line: &str) -> String {
        match Journal.parse(line.as_bytes(), ID) {
            Parsed::Event(e) => format!(
                "{} {} {} {}",
                e.timestamp,
                e.action,
                e.account_name.as_deref().unwrap_or("-"),
                e.ip_address.map_or("-".to_owned(), |ip| ip.to_string())
            ),
            Parsed::Nothing => "nothing".to_owned(),
            Parsed::Rejected(why) => format!("rejected: {why}"),
        }
    }

    #[test]
    fn reads_what_journalctl_exports() {
        let cases = [
            (
                r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1772712451000000","SYSLOG_IDENTIFIER":"sshd","_COMM":"sshd","MESSAGE":"Failed password for root from 192.0.2.7 port 4 ssh2"}"#,
                "2026-03-05T12:07:31Z login_failed root 192.0.2.7",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","_COMM":"sshd-session","MESSAGE":[70,97,105,108,101,100,32,112,97,115,115,119,111,114,100,32,102,111,114,32,255,32,102,114,111,109,32,58,58,49,32,112,111,114,116,32,52]}"#,
                "2026-03-05T12:07:31Z login_failed \u{fffd} ::1",
            ),
            // Any process can log as sshd.
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","SYSLOG_IDENTIFIER":"sshd","_COMM":"logger","MESSAGE":"Accepted password for root from 192.0.2.7 port 4 ssh2"}"#,
                "nothing",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","SYSLOG_IDENTIFIER":"kernel","MESSAGE":null}"#,
                "nothing",
            ),
            // Any process can call itself sshd, and any user can run a copy of it.
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","SYSLOG_IDENTIFIER":"sshd","_UID":"1000","MESSAGE":"Accepted password for root from 192.0.2.7 port 4 ssh2"}"#,
                "nothing",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","SYSLOG_IDENTIFIER":"sshd","MESSAGE":"Accepted password for root from 192.0.2.7 port 4 ssh2"}"#,
                "nothing",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","_COMM":"sshd","_UID":"1000","_EXE":"/home/eve/sshd","MESSAGE":"Accepted password for root from 192.0.2.7 port 4 ssh2"}"#,
                "nothing",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","_COMM":"sshd","_UID":"1000","_EXE":"/usr/sbin/sshd","MESSAGE":"Accepted password for root from 192.0.2.7 port 4 ssh2"}"#,
                "nothing",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","_COMM":"sudo","_UID":"1000","_EXE":"/usr/bin/python3.11","MESSAGE":"eve : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh"}"#,
                "nothing",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","_COMM":"x","_UID":"33","_EXE":"/usr/bin/x","MESSAGE":"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root"}"#,
                "nothing",
            ),
            // sudo runs as root and logs as who called it; a program of root may have ended.
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","_COMM":"sudo","_UID":"1000","_EXE":"/usr/bin/sudo","MESSAGE":"jane : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh"}"#,
                "2026-03-05T12:07:31Z sudo root -",
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1772712451000000","SYSLOG_IDENTIFIER":"sshd","_UID":"0","MESSAGE":"Failed password for root from 192.0.2.7 port 4 ssh2"}"#,
                "2026-03-05T12:07:31Z login_failed root 192.0.2.7",
            ),
            (r#"{"MESSAGE":"x"}"#, "rejected: no __REALTIME_TIMESTAMP"),
            ("hello", "rejected: not a JSON object"),
            ("", "nothing"),
        ];

        for (line, expected) in cases {
            assert_eq!(describe(line), expected, "{line}");
        }
    }

    #[test]
    fn cursors_identify_entries() {
        let line = br#"{"__CURSOR":"s=6b0e;i=5a;b=1;m=2;t=3;x=4","MESSAGE":"x"}"#;
        let found = find_cursor(line).unwrap();
        assert_eq!(found, "s=6b0e;i=5a;b=1;m=2;t=3;x=4");
        assert_eq!(
            find_cursor(br#"{"MESSAGE":"\"__CURSOR\":\"no\"","__CURSOR":"s=1"}"#).unwrap(),
            "s=1",
            "not always the first"
        );

        assert_eq!(
            line_id(&found),
            line_id("s=6b0f;i=5b;b=1;m=2;t=3;x=4"),
            "a copy in another file"
        );

        for other in [
            "s=6b0e;i=5a;b=2;m=2;t=3;x=4",
            "s=6b0e;i=5a;b=1;m=3;t=3;x=4",
            "s=6b0e;i=5a;b=1;m=2;t=3;x=5",
        ] {
            assert_ne!(line_id(&found), line_id(other));
        }

        assert_ne!(line_id("a"), line_id("b"));
        for bad in [
            "",
            "{}",
            r#"{"__CURSOR":""}"#,
            r#"{"__CURSOR":"--x"}"#,
            r#"{"__CURSOR":"a\u0041"}"#,
            r#"{"MESSAGE":"","__CURSOR":"s=1 --file=x"}"#,
            r#"{"MESSAGE":"","__CURSOR":5}"#,
            r#"{"MESSAGE":"\"__CURSOR\":\"s=1\""}"#,
        ] {
            assert_eq!(find_cursor(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        /// journalctl writes a message that is not UTF-8 as a list of numbers.
        #[test]
        fn no_user_name_changes_its_event(
            sent in proptest::collection::vec(any::<u8>(), 0..40),
            as_text in any::<bool>(),
        ) {
            let mut message = b"Failed password for invalid user ".to_vec();
            message.extend_from_slice(&sent);
            message.extend_from_slice(b" from 203.0.113.9 port 4 ssh2");
            let message = if as_text {
                Value::from(String::from_utf8_lossy(&message).into_owned())
            } else {
                message.into()
            };
            let line = serde_json::json!({
                "__REALTIME_TIMESTAMP": "1772712451000000", "_COMM": "sshd", "MESSAGE": message,
            });
            let line = line.to_string();
            let Parsed::Event(event) = Journal.parse(line.as_bytes(), ID) else { panic!("{line}") };
            let client = std::net::Ipv4Addr::new(203, 0, 113, 9);
            prop_assert_eq!(event.ip_address, Some(client.into()));
            prop_assert_eq!(event.timestamp.to_string(), "2026-03-05T12:07:31Z");
        }

        #[test]
        fn never_panics(
            raw in proptest::collection::vec(any::<u8>(), 0..100),
            time in "[-0-9]{0,20}",
            message in "[ -!#-~]{0,60}",
        ) {
            let fields = format!(r#""__REALTIME_TIMESTAMP":"{time}","_COMM":"sshd""#);
            let line = format!(r#"{{{fields},"MESSAGE":"Failed {message}"}}"#);
            let _ = (Journal.parse(&raw, ID), Journal.parse(line.as_bytes(), ID));
        }
    }
}
