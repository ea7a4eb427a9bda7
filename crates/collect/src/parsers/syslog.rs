//! Syslog lines: RFC 3164 as rsyslog, syslogd and devices write it, the same with ISO times, and
//! RFC 5424. Logins of sshd become events, and so do the actions that sudo, su, PAM, the account
//! tools and logind report; everything else is ignored. A line whose head is not understood is
//! rejected.
//!
//! A failed login of sshd is one `Failed password`, `Failed publickey` or `Failed
//! keyboard-interactive` line; `message repeated N times: [ … ]` and `last message repeated N
//! times` are N of them. Lines of PAM about an attempt count where sshd writes no such line; see
//! [`crate::sequence`]. `Failed none` begins every attempt of an OpenSSH client, and the other lines
//! about an attempt (`Invalid user`, `Connection closed`) repeat it, so none of them counts.

use model::civil::Readings;
use model::event::Provenance;
use model::{Source, Timestamp};

use super::{Format, LineId, LineParser, ParseContext, Parsed};
use crate::sequence::{Kind, Line, Note, hash_parts};
use crate::text::{lossy_text, parse_pid, without_padding};
pub(in crate::parsers) use header::facility_name;
use header::{Head, LineTime};
use time::{Calendar, split_word};

mod header;
mod pam;
mod programs;
mod sshd;
mod time;

pub(super) const FORMAT: Format = Format {
    name: "syslog",
    description: "syslog lines (RFC 3164 with or without ISO times, RFC 5424): sshd, sudo, su, \
        PAM, accounts, logind",
    source: Source::Syslog,
    entry_rules: None,
    parser: |context| Box::new(Syslog::new(context)),
};

struct Syslog {
    calendar: Calendar,
    arrived: Option<Timestamp>,
}

impl Syslog {
    fn new(context: ParseContext) -> Self {
        Self {
            calendar: Calendar::new(context.latest, context.zone),
            arrived: context.arrived,
        }
    }
}

/// Reads what a syslog daemon puts before the lines of a program.
pub(super) struct Prefix(Syslog);

impl Prefix {
    pub(super) fn new(context: ParseContext) -> Self {
        Self(Syslog::new(context))
    }

    /// Returns the message behind it; `None` where there is none.
    pub(super) fn split<'a>(&self, line: &'a [u8]) -> Option<LogMessage<'a>> {
        let (facility, rest) = header::split_priority(line)?;
        match header::split_head(&self.0.calendar, rest) {
            Ok((_, Head::Message(message))) => Some(message.of_facility(facility)),
            _ => None,
        }
    }
}

impl LineParser for Syslog {
    fn parse<'a>(&self, line: &'a [u8], id: LineId) -> Parsed<'a> {
        self.read(line, id).parsed
    }

    fn read<'a>(&self, line: &'a [u8], id: LineId) -> Line<'a> {
        let rejected = |why: &str| Parsed::Rejected(why.to_owned()).into();
        let line = without_padding(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Parsed::Nothing.into();
        }

        let Some((facility, rest)) = header::split_priority(line) else {
            return rejected("a priority that is not understood");
        };
        let (time, head) = match header::split_head(&self.calendar, rest) {
            Ok(found) => found,
            Err(why) => return rejected(why),
        };

        let at = match (time, self.arrived) {
            (LineTime::At(readings), _) => readings,
            (LineTime::Nil, Some(arrived)) => arrived.into(),
            (LineTime::Nil, None) => {
                return rejected("its sender has no clock, and a file says nothing of its arrival");
            }
        };

        match head {
            Head::Mark => Line::at(Parsed::Nothing, Some(at)),
            Head::Repeated { host, times } => {
                let host = if host.is_empty() {
                    0
                } else {
                    hash_parts(&[host])
                };
                Line {
                    parsed: Parsed::Nothing,
                    note: Some(Note::new(host, Some(at), Kind::Repeated(times))),
                }
            }
            Head::Message(message) => classify_message(message.of_facility(facility), at, id),
        }
    }
}

/// A message that a program logged.
#[derive(Clone, Copy)]
pub(super) struct LogMessage<'a> {
    /// The program without its process ID.
    pub(super) program: &'a [u8],
    /// The machine that logged it.
    pub(super) host: &'a [u8],
    /// The process ID, or nothing.
    pub(super) pid: &'a [u8],
    /// The name of the facility, or nothing.
    pub(super) facility: &'a [u8],
    pub(super) text: &'a [u8],
}

impl<'a> LogMessage<'a> {
    /// Returns the message with its facility, unless it names another.
    pub(super) const fn of_facility(self, facility: &'a [u8]) -> Self {
        if self.facility.is_empty() {
            Self { facility, ..self }
        } else {
            self
        }
    }

    /// Returns where its event was.
    pub(super) fn provenance(&self) -> Provenance<'a> {
        let named = |text: &'a [u8]| (!text.is_empty()).then(|| lossy_text(text));
        Provenance {
            host: named(self.host),
            program: named(self.program),
            pid: parse_pid(self.pid),
            facility: named(self.facility),
            ..Provenance::default()
        }
    }

    /// Returns whether sshd logged it.
    fn is_of_sshd(&self) -> bool {
        matches!(
            self.program,
            b"sshd" | b"sshd-session" | b"sshd-auth" | b"sshd(pam_unix)"
        )
    }
}

/// Returns what a program's message means, however it was collected.
pub(super) fn classify_message(message: LogMessage<'_>, at: Readings, id: LineId) -> Line<'_> {
    let mut line = if message.is_of_sshd() {
        sshd::read_message(message, at, id)
    } else {
        let event = programs::activity_event(message, at.first, id);
        let line = Line::at(event.map_or(Parsed::Nothing, Parsed::Event), Some(at));
        line.of_host(message.host)
    };

    if let Parsed::Event(event) = &mut line.parsed {
        event.provenance = Some(Box::new(message.provenance()));
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn march_parser() -> Syslog {
        Syslog::new(ParseContext::utc(
            Timestamp::parse("2026-03-05T12:00:00Z").unwrap(),
        ))
    }

    const ID: LineId = LineId {
        file: 7,
        offset: 42,
    };

    /// Describes a line by action, account, address, count and time, or says why it is no event.
    fn describe(line: &str) -> String {
        match march_parser().parse(line.as_bytes(), ID) {
            Parsed::Event(e) => format!(
                "{} {} {} x{} {}",
                e.action,
                e.account_name.as_deref().unwrap_or("-"),
                e.ip_address.map_or("-".to_owned(), |ip| ip.to_string()),
                e.occurrences,
                e.timestamp
            ),
            Parsed::Nothing => "nothing".to_owned(),
            Parsed::Rejected(why) => format!("rejected: {why}"),
        }
    }

    #[test]
    fn lines_of_sshd_are_read() {
        let cases = [
            (
                "Mar  5 11:00:01 host sshd[1]: Failed password for root from 203.0.113.9 port 22 \
                    ssh2",
                "login_failed root 203.0.113.9 x1 2026-03-05T11:00:01Z",
            ),
            (
                "Dec 10 06:55:46 LabSZ sshd[24200]: Failed password for invalid user webmaster \
                    from 173.234.31.186 port 38926 ssh2",
                "login_failed webmaster 173.234.31.186 x1 2025-12-10T06:55:46Z",
            ),
            (
                "Mar  5 11:00:01 h sshd[1]: message repeated 5 times: [ Failed password for root \
                    from 5.36.59.76 port 42393 ssh2]",
                "login_failed root 5.36.59.76 x5 2026-03-05T11:00:01Z",
            ),
            (
                "<86>1 2026-03-05T11:00:01.5+01:00 h sshd-session 9 - [a@1 b=\"x ] \\\" y\"] \
                    Accepted publickey for ann from ::1 port 5 ssh2: RSA SHA256:x",
                "login ann ::1 x1 2026-03-05T10:00:01.5Z",
            ),
            (
                "2026-03-05T11:00:01.123456+00:00 h sshd[1]: Failed keyboard-interactive/pam for \
                    bob from fe80::1%eth0 port 5 ssh2",
                "login_failed bob fe80::1 x1 2026-03-05T11:00:01.123456Z",
            ),
        ];

        for (line, expected) in cases {
            assert_eq!(describe(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_of_other_programs_are_read_or_ignored() {
        let cases = [
            (
                "Mar  5 11:00:01 h sshd[1]: Failed none for invalid user 0 from 5.188.10.180 port \
                    49811 ssh2",
                "nothing",
            ),
            (
                "Mar  5 11:00:01 h sshd[1]: Invalid user admin from 5.188.10.180",
                "nothing",
            ),
            (
                "Mar  5 11:00:01 h sudo: pam_unix(sudo:session): session opened for user root",
                "nothing",
            ),
            (
                "Mar  5 11:00:01 h sudo:      ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; \
                    COMMAND=/bin/sh -c USER=x ; id",
                "sudo root - x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h sudo: bob : user NOT in sudoers ; TTY=pts/0 ; USER=root ; \
                    COMMAND=/bin/ls",
                "sudo root - x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h su[9]: FAILED SU (to root) bob on pts/1",
                "su root - x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h su: Successful su for root by ann",
                "su root - x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h useradd[7]: new user: name=eve, UID=1001, GID=1001",
                "user_create eve - x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h usermod[7]: add 'eve' to group 'sudo'",
                "group_add eve - x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h passwd[7]: pam_unix(passwd:chauthtok): password changed for eve",
                "password_change - - x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h vsftpd: pam_unix(vsftpd:auth): authentication failure; \
                    logname= uid=0 euid=0 tty=ftp ruser=x rhost=192.0.2.7  user=eve",
                "login_failed eve 192.0.2.7 x1 2026-03-05T11:00:01Z",
            ),
        ];

        for (line, expected) in cases {
            assert_eq!(describe(line), expected, "{line}");
        }
    }

    #[test]
    fn unusual_headers_are_read_or_rejected() {
        let cases = [
            (
                "Mar  5 11:00:01 h systemd-logind[1]: New session 5 of user ann.",
                "session_opened - - x1 2026-03-05T11:00:01Z",
            ),
            (
                "2026-03-05 04:00:01.344447-0700  localhost sshd[2519]: Failed password for eve \
                    from 172.18.1.100 port 43042 ssh2",
                "login_failed eve 172.18.1.100 x1 2026-03-05T11:00:01.344447Z",
            ),
            (
                "Mar  5 11:00:01 h su(pam_unix)[23164]: authentication failure; logname= uid=1342 \
                    euid=0 tty= ruser=dcid rhost=  user=eve",
                "login_failed eve - x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h sshd(pam_unix)[7]: authentication failure; rhost=192.0.2.7 \
                    user=eve",
                "login_failed eve 192.0.2.7 x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h sshd(pam_unix)[7]: 2 more authentication failures; logname= \
                    rhost=10.0.3.1  user=root",
                "login_failed root 10.0.3.1 x2 2026-03-05T11:00:01Z",
            ),
            ("Mar  5 11:00:01 h -- MARK --", "nothing"),
            // As written to /dev/log, which names no host.
            (
                "<38>Mar  5 11:00:01 sshd[4]: Failed password for root from 198.51.100.80 port 22 \
                    ssh2",
                "login_failed root 198.51.100.80 x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 sshd[4]: Failed password for root from 198.51.100.80 port 22 ssh2",
                "login_failed root 198.51.100.80 x1 2026-03-05T11:00:01Z",
            ),
            (
                "<85>Mar  5 11:00:01 sudo:      ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; \
                    COMMAND=/bin/ls",
                "sudo root - x1 2026-03-05T11:00:01Z",
            ),
            (
                "<38>2026-03-05T11:00:01Z sshd: Failed password for root from 198.51.100.80 port \
                    22 ssh2",
                "login_failed root 198.51.100.80 x1 2026-03-05T11:00:01Z",
            ),
            (
                "<13>Mar  5 11:00:01 ann: sshd[4]: Failed password for root from 9.9.9.9 port 22 \
                    ssh2",
                "nothing",
            ),
            (
                "Mar  5 11:00:01 2001:db8:: sshd[4]: Failed password for root from 198.51.100.80 \
                    port 22 ssh2",
                "login_failed root 198.51.100.80 x1 2026-03-05T11:00:01Z",
            ),
            ("", "nothing"),
            ("\0\0", "nothing"),
            (
                "\0\0Mar  5 11:00:01 h sshd[1]: Failed password for a\0b from 192.0.2.1 port 22 \
                    ssh2",
                "login_failed a\u{fffd}b 192.0.2.1 x1 2026-03-05T11:00:01Z",
            ),
            (
                "hello",
                "rejected: no syslog header: its time is not understood",
            ),
        ];

        for (line, expected) in cases {
            assert_eq!(describe(line), expected, "{line}");
        }
    }

    /// The heads with which real senders write the same message.
    #[test]
    fn heads_of_all_senders_are_read() {
        let heads = [
            // RFC 3164, with days and times that differ from it.
            "Mar  5 11:00:01 h sshd[1]: ",
            "<38>Mar  5 11:00:01 h sshd[1]: ",
            "Mar 5 11:00:01 h sshd[1]: ",
            "Mar 05 11:00:01 h sshd[1]: ",
            "Mar  5 2026 11:00:01 h sshd[1]: ",
            "Mar 05 11:00:01 2026 h sshd[1]: ",
            "2026 Mar  5 11:00:01 h sshd[1]: ",
            "Mar  5 11:00:01.000000 h sshd[1]: ",
            "Mar  5 11:00:01 UTC h sshd[1]: ",
            "Thu Mar  5 11:00:01 2026 auth.info sshd[1]: ",
            // No host, and hosts that look like something else.
            "Mar  5 11:00:01 sshd[1]: ",
            "<38>Mar  5 11:00:01 sshd: ",
            "Mar  5 11:00:01 2001:db8:: sshd[1]: ",
            "Mar  5 11:00:01 192.0.2.1 sshd[1]: ",
            // BusyBox, FreeBSD, AIX, Solaris, macOS.
            "Mar  5 11:00:01 h auth.info sshd[1]: ",
            "Mar  5 11:00:01 auth.info sshd[1]: ",
            "Mar  5 11:00:01 <auth.info> h sshd[1]: ",
            "Mar  5 11:00:01 <4.6> h sshd[1]: ",
            "<auth.info>Mar  5 11:00:01 h sshd[1]: ",
            "<4.6> Mar  5 11:00:01 h sshd[1]: ",
            "Mar  5 11:00:01 h auth|security:info sshd[1]: ",
            "Mar  5 11:00:01 relay Message forwarded from h: sshd[1]: ",
            "Mar  5 11:00:01 h sshd[1]: [ID 800047 auth.info] ",
            "Mar  5 11:00:01 h sshd[1] <Notice>: ",
            "Mar  5 11:00:01 h sshd[1] (com.openssh.sshd): ",
            "2026-03-05 04:00:01.000000-0700  h sshd[1]: ",
            // Cisco's numbers and marks.
            "<38>29: Mar  5 11:00:01: h sshd[1]: ",
            "<38>29: *Mar  5 11:00:01.000 UTC: h: sshd[1]: ",
            "<38>29: h: 000031: Mar  5 11:00:01 UTC: sshd[1]: ",
            "<38>29: 000031: .Mar  5 06:00:01.000 EST: h sshd[1]: ",
            // ISO times, and those of journalctl.
            "2026-03-05T11:00:01Z h sshd[1]: ",
            "2026-03-05T11:00:01,000+00:00 h sshd[1]: ",
            "2026-03-05T11:00:01.000 h sshd[1]: ",
            "2026-03-05 11:00:01 h sshd[1]: ",
            "Thu 2026-03-05 11:00:01 UTC h sshd[1]: ",
            "1772708401.000000 h sshd[1]: ",
            // Programs by their path, and what came through the kernel.
            "Mar  5 11:00:01 h /usr/sbin/sshd[1]: ",
            "Mar  5 11:00:01 h kernel: [   12.345678] sshd[1]: ",
            // RFC 5424, also as the text of an RFC 3164 line.
            "<38>1 2026-03-05T11:00:01Z h sshd 1 - - ",
            "1 2026-03-05T11:00:01Z h /usr/sbin/sshd 1 - - \u{feff}",
            "<38>1 2026-03-05T12:00:01+01:00 h sshd - ID47 [a@1 b=\"] x\"][c@1] ",
            "<38>Mar  5 11:00:01 h 1 2026-03-05T11:00:01.000000-00:00 h sshd 1 - - ",
            "<38>Mar  5 11:00:01 h <38>1 2026-03-05T11:00:01Z h sshd 1 - - ",
            "\u{feff}Mar  5 11:00:01 h sshd[1]: ",
        ];

        for head in heads {
            let line = format!("{head}Failed password for root from 203.0.113.9 port 22 ssh2");
            let expected = "login_failed root 203.0.113.9 x1 2026-03-05T11:00:01Z";
            assert_eq!(describe(&line), expected, "{head}");
        }
    }

    #[test]
    fn heads_that_are_not_understood_are_rejected() {
        for line in [
            "Mar  5 11:00:01 h something between sshd and its host",
            "Mar  5 11:00:01 h level=info msg sshd: Failed password for root",
            "Mar  5 11:00:01",
            "Mar 32 11:00:01 h sshd[1]: x",
            "Mar  5 25:00:01 h sshd[1]: x",
            "août 19 11:08:37 h sshd[4961]: test",
            "<999999>Mar  5 11:00:01 h sshd[1]: x",
            "<x>Mar  5 11:00:01 h sshd[1]: x",
            "<38>1 yesterday h sshd 1 - - x",
            "<38>1 - h sshd 1 - - x",
            "<38>Mar  5 11:00:01 h 1 2026-03-05T11:00:01Z h sshd 1",
        ] {
            let described = describe(line);
            assert!(described.starts_with("rejected: "), "{line}: {described}");
        }
    }

    #[test]
    fn messages_of_the_syslog_daemon_are_understood() {
        for line in [
            "Mar  5 11:00:01 h -- MARK --",
            "<189>29: *Mar  5 11:00:01.000: %SYS-5-CONFIG_I: Configured from console by vty0",
            "<189>29: router: Mar  5 11:00:01: %SYS-5-CONFIG_I: Configured from console",
            "Mar  5 11:00:01 h last message repeated 3 times",
            "Mar  5 11:00:01 last message repeated 3 times",
            "Mar  5 11:00:01 --- last message repeated 1 time ---",
            "<46>Mar  5 11:00:01 h last message repeated 3 times",
        ] {
            assert_eq!(describe(line), "nothing", "{line}");
        }
    }

    #[test]
    fn a_sender_without_a_clock_is_dated_by_arrival() {
        let arrived = Timestamp::parse("2026-03-05T12:00:00Z").unwrap();
        let parser = Syslog::new(ParseContext {
            arrived: Some(arrived),
            ..ParseContext::utc(arrived)
        });
        let line = b"<38>1 - h sshd 1 - - Failed password for root from 203.0.113.9 port 22 ssh2";
        let Parsed::Event(event) = parser.parse(line, ID) else {
            panic!("not an event")
        };
        assert_eq!(event.timestamp, arrived);
    }

    #[test]
    fn a_user_name_cannot_forge_an_address() {
        for (line, expected) in [
            (
                "Mar  5 11:00:01 h sshd[1]: Failed password for invalid user x from 9.9.9.9 port \
                    1 ssh2 from 203.0.113.9 port 22 ssh2",
                "login_failed x from 9.9.9.9 port 1 ssh2 203.0.113.9 x1 2026-03-05T11:00:01Z",
            ),
            (
                "Mar  5 11:00:01 h sshd[1]: Failed publickey for ann from 203.0.113.9 port 22 \
                    ssh2: RSA-CERT SHA256:x ID y from 9.9.9.9 port 1 ssh2",
                "login_failed ann 203.0.113.9 x1 2026-03-05T11:00:01Z",
            ),
        ] {
            assert_eq!(describe(line), expected, "{line}");
        }
    }

    #[test]
    fn a_leap_day_belongs_to_a_leap_year() {
        assert_eq!(
            describe(
                "Feb 29 11:00:01 h sshd[1]: Failed password for root from 192.0.2.1 port 22 ssh2"
            ),
            "login_failed root 192.0.2.1 x1 2024-02-29T11:00:01Z"
        );
    }

    proptest! {
        #[test]
        fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = march_parser().parse(&line, ID);
        }

        #[test]
        fn never_panics_on_nearly_right_lines(user in "\\PC{0,30}", tail in "\\PC{0,30}") {
            let line = format!("Mar  5 11:00:01 h sshd[1]: Failed password for {user} from {tail}");
            let _ = march_parser().parse(line.as_bytes(), ID);
        }
    }
}
