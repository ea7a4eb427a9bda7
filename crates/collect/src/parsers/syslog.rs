//! Syslog lines: RFC 3164 as rsyslog and syslogd write it to files, the same with ISO times, and
//! RFC 5424. Logins of sshd become events, and so do the actions that sudo, su, PAM, the account
//! tools and logind report; everything else is ignored.
//!
//! A failed login is one `Failed password`, `Failed publickey` or `Failed keyboard-interactive`
//! line, and `message repeated N times: [ … ]` is N of them. `Failed none` begins every attempt of
//! an OpenSSH client, and the other lines about an attempt (`Invalid user`, PAM, `Connection
//! closed`) repeat it, so none of them counts.

use model::civil::{Civil, Zone, digits, month};
use model::{Source, Span, Timestamp};

use super::{Format, LineId, LineParser, ParseContext, Parsed};
use crate::text::{parse_address, without_padding};

mod pam;
mod programs;
mod sshd;

pub(super) const FORMAT: Format = Format {
    name: "syslog",
    description: "syslog lines (RFC 3164 with or without ISO times, RFC 5424): sshd, sudo, su, \
        PAM, accounts, logind",
    source: Source::Syslog,
    entry_rules: None,
    parser: |context| Box::new(Syslog::new(context)),
};

struct Syslog {
    latest: Timestamp,
    /// The year of `latest`.
    year: i64,
    zone: Zone,
}

impl Syslog {
    fn new(context: ParseContext) -> Self {
        let year = i64::from(year_of(context.latest));
        Self {
            latest: context.latest,
            year,
            zone: context.zone,
        }
    }

    /// Splits off `Mar 27 13:06:56 `, which has no year: the latest such time that is not in the
    /// future. A tolerance of one day covers clocks and time zones that differ.
    fn split_bsd_time<'a>(&self, line: &'a [u8]) -> Option<(Timestamp, &'a [u8])> {
        let (stamp, rest) = line.split_at_checked(16)?;
        let [
            m @ ..,
            b' ',
            d1,
            d2,
            b' ',
            h1,
            h2,
            b':',
            n1,
            n2,
            b':',
            s1,
            s2,
            b' ',
        ] = stamp
        else {
            return None;
        };

        let two = |a: u8, b: u8| digits(&[a, b]);
        let day = two(if *d1 == b' ' { b'0' } else { *d1 }, *d2)?;
        let civil = Civil {
            year: 0,
            month: month(m)?,
            day,
            hour: two(*h1, *h2)?,
            minute: two(*n1, *n2)?,
            second: two(*s1, *s2)?,
            micros: 0,
        };

        for year in [
            self.year + 1,
            self.year,
            self.year - 1,
            self.year - 2,
            self.year - 3,
            self.year - 4,
        ] {
            // February 29 belongs to the last leap year.
            if let Some(at) = (Civil { year, ..civil }).in_zone(&self.zone)
                && at <= self.latest.plus(Span::days(1))
            {
                return Some((at, rest));
            }
        }

        None
    }
}

fn year_of(at: Timestamp) -> i16 {
    // Exact to a day, which the tolerance covers: 400 years are 146,097 days.
    let days = at.as_secs().div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let doe = days - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let year = yoe + era * 400 + i64::from(doy >= 306);
    year.clamp(0, 9999) as i16
}

/// Splits off the next word and the space after it.
fn split_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', text)?;
    Some((&text[..end], &text[end + 1..]))
}

/// Splits off an ISO 8601 time. macOS writes `2026-03-24 08:38:42.344447-0700  host …`.
fn split_iso_time(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let date = if line.get(10) == Some(&b' ') { 11 } else { 0 };
    let end = date + memchr::memchr(b' ', line.get(date..)?)?;
    let time = std::str::from_utf8(&line[..end]).ok()?;
    Some((Timestamp::parse(time).ok()?, line[end..].trim_ascii_start()))
}

/// Parses `host program[pid]: message`, the part after the time. What syslog(3) writes to /dev/log
/// names no host: the word after the time is then the tag, which ends with a colon.
fn parse_bsd_message(rest: &[u8]) -> Option<LogMessage<'_>> {
    let (first, after) = split_word(rest)?;
    // An IPv6 address may end with a colon too.
    let is_tag = first.ends_with(b":") && first.len() > 1 && parse_address(first).is_none();
    let (host, rest) = if is_tag {
        (&first[..0], rest)
    } else {
        (first, after)
    };

    let end = rest
        .iter()
        .take(64)
        .position(|c| matches!(c, b'[' | b':' | b' '))?;
    let program = &rest[..end];
    let colon = memchr::memchr(b':', &rest[..rest.len().min(128)])?;

    Some(LogMessage {
        program,
        host,
        text: rest.get(colon + 1..)?.trim_ascii_start(),
    })
}

/// Parses time and message of an RFC 5424 line after `<PRI>1 `.
fn parse_rfc5424(rest: &[u8]) -> Option<(Timestamp, LogMessage<'_>)> {
    let (time, rest) = split_word(rest)?;
    let (host, rest) = split_word(rest)?;
    let (program, rest) = split_word(rest)?;
    let (_pid, rest) = split_word(rest)?;
    let (_msgid, rest) = split_word(rest)?;
    let at = Timestamp::parse(std::str::from_utf8(time).ok()?).ok()?;
    let text = after_structured_data(rest)?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);

    Some((
        at,
        LogMessage {
            program,
            host,
            text,
        },
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

    Some(&[])
}

impl LineParser for Syslog {
    fn parse<'a>(&self, line: &'a [u8], id: LineId) -> Parsed<'a> {
        let line = without_padding(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Parsed::Nothing;
        }

        let after_priority = match line {
            [b'<', rest @ ..] => {
                memchr::memchr(b'>', &rest[..rest.len().min(5)]).and_then(|end| rest.get(end + 1..))
            }
            _ => Some(line),
        };

        let Some(rest) = after_priority else {
            return Parsed::Rejected("a priority that does not end".to_owned());
        };
        let parts = match rest {
            [b'1', b' ', rest @ ..] => parse_rfc5424(rest),
            [b'0'..=b'9', ..] => {
                split_iso_time(rest).and_then(|(at, rest)| Some((at, parse_bsd_message(rest)?)))
            }
            _ => self.split_bsd_time(rest).map(|(at, rest)| {
                let nothing = LogMessage {
                    program: b"",
                    host: b"",
                    text: b"",
                };
                (at, parse_bsd_message(rest).unwrap_or(nothing))
            }),
        };

        match parts {
            None => Parsed::Rejected("not a known syslog header".to_owned()),
            Some((at, message)) => classify_message(message, at, id),
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
    pub(super) text: &'a [u8],
}

/// Returns what a program's message means, however it was collected.
pub(super) fn classify_message(message: LogMessage<'_>, at: Timestamp, id: LineId) -> Parsed<'_> {
    match message.program {
        b"sshd" | b"sshd-session" | b"sshd-auth" => sshd::login_event(message, at, id),
        _ => programs::activity_event(message, at, id).map_or(Parsed::Nothing, Parsed::Event),
    }
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
            (
                "Mar  5 11:00:01 h login: pam_unix(sshd:auth): authentication failure; \
                    rhost=192.0.2.7 user=eve",
                "nothing",
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
                "nothing",
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
            ("hello", "rejected: not a known syslog header"),
        ];

        for (line, expected) in cases {
            assert_eq!(describe(line), expected, "{line}");
        }
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

        #[test]
        fn year_of_matches_the_calendar(secs in 0_i64..4_000_000_000) {
            let at = Timestamp::from_secs(secs);
            prop_assert_eq!(i64::from(year_of(at)), at.to_string()[..4].parse::<i64>().unwrap());
        }
    }
}
