//! Lines of sshd, PAM and syslogd, in the orders in which they are written.

use model::civil::Zone;
use model::{SecurityEvent, Timestamp};

use super::*;
use crate::{Format, ParseContext};

/// Reads lines as of a replay, or with the times at which they arrived.
fn read_lines(lines: &[(&str, Option<&str>)], zone: &str) -> Vec<SecurityEvent<'static>> {
    let time = |text: &str| Timestamp::parse(text).unwrap();
    let live = lines.iter().any(|(_, arrived)| arrived.is_some());
    let mut sequencer = if live {
        Sequencer::of_socket()
    } else {
        Sequencer::of_file(None)
    };
    let mut events = Vec::new();
    for ((line, arrived), number) in lines.iter().zip(0..) {
        let arrived = arrived.map(time);
        let parser = (Format::named("syslog").unwrap().parser)(ParseContext {
            latest: arrived.unwrap_or_else(|| time("2026-11-30T00:00:00Z")),
            zone: Zone::named(zone).unwrap(),
            arrived,
            trusted_proxies: Vec::new(),
        });
        let id = LineId {
            file: 7,
            offset: number,
        };
        let place = Place {
            number,
            id,
            arrived,
        };
        let mut of_line = Vec::new();
        sequencer.push(parser.read(line.as_bytes(), id), place, &mut of_line);
        events.extend(of_line.into_iter().map(SecurityEvent::into_owned));
    }

    sequencer.finish(&mut events);
    events
}

/// Returns how often logins failed, by client.
fn failures(lines: &[&str]) -> Vec<(String, u32)> {
    let lines: Vec<_> = lines.iter().map(|line| (*line, None)).collect();
    let mut counts = std::collections::BTreeMap::new();
    for event in read_lines(&lines, "UTC") {
        if event.action == "login_failed".into() {
            let client = match event.ip_address {
                Some(ip) => ip.to_string(),
                None => event.details.text("origin").unwrap_or_default(),
            };
            *counts.entry(client).or_insert(0) += event.occurrences;
        }
    }

    counts.into_iter().collect()
}

#[test]
fn each_attempt_counts_once_whichever_lines_are_about_it() {
    const FAILED: &str = "Mar  5 11:00:03 h sshd[1]: Failed password for root from 203.0.113.9 \
        port 22 ssh2";
    const KEYBOARD: &str = "Mar  5 11:00:03 h sshd[1]: Failed keyboard-interactive/pam for root \
        from 203.0.113.9 port 22 ssh2";
    const PAM: &str = "Mar  5 11:00:01 h sshd[1]: pam_unix(sshd:auth): authentication failure; \
        logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user=root";
    const SSS: &str = "Mar  5 11:00:01 h sshd[1]: pam_sss(sshd:auth): authentication failure; \
        logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9 user=root";
    const CHILD: &str = "Mar  5 11:00:01 h sshd[2]: pam_unix(sshd:auth): authentication failure; \
        logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user=root";
    const ERROR: &str = "Mar  5 11:00:03 h sshd[1]: error: PAM: Authentication error for root \
        from 203.0.113.9";
    const MORE: &str = "Mar  5 11:00:09 h sshd[1]: PAM 2 more authentication failures; logname= \
        uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user=root";
    const REPEATED: &str = "Mar  5 11:00:08 h sshd[1]: message repeated 2 times: [ Failed \
        password for root from 203.0.113.9 port 22 ssh2]";
    const CLOSED: &str = "Mar  5 11:00:09 h sshd[1]: Connection closed by authenticating user \
        root 203.0.113.9 port 22 [preauth]";
    const ACCEPTED: &str = "Mar  5 11:00:03 h sshd[1]: Accepted password for root from \
        203.0.113.9 port 22 ssh2";
    const LATER: &str = "Mar  5 11:30:00 h sshd[9]: Server listening on :: port 22.";
    let cases: &[(&[&str], u32)] = &[
        (&[FAILED], 1),
        (&[PAM], 1),
        (&[ERROR], 1),
        (&[PAM, FAILED, CLOSED], 1),
        (&[PAM, FAILED, REPEATED, CLOSED, MORE], 3),
        (&[PAM, FAILED, FAILED, FAILED, MORE, CLOSED], 3),
        // PAM alone, with and without the end of the connection.
        (&[PAM, MORE, LATER], 3),
        (&[PAM, CLOSED, PAM, CLOSED], 2),
        // Two modules refuse one attempt, or one of them lets it pass.
        (&[PAM, SSS, FAILED], 1),
        (&[PAM, SSS, LATER], 1),
        (&[PAM, ACCEPTED], 0),
        // Keyboard-interactive: PAM runs in a child, and sshd logs `Failed` from the third on.
        (&[ERROR, ERROR, CLOSED], 2),
        (&[ERROR, ERROR, ERROR, KEYBOARD, ERROR, KEYBOARD, CLOSED], 4),
        (&[CHILD, ERROR, CHILD, ERROR, CHILD, ERROR, KEYBOARD], 3),
        // Two methods in one connection.
        (&[ERROR, FAILED, CLOSED], 2),
        // What syslogd folds into one line.
        (
            &[ERROR, "Mar  5 11:00:05 h last message repeated 4 times"],
            5,
        ),
        (
            &[FAILED, "Mar  5 11:00:05 last message repeated 4 times"],
            5,
        ),
        (
            &[
                FAILED,
                CLOSED,
                "Mar  5 11:00:05 h last message repeated 4 times",
            ],
            1,
        ),
        (
            &[
                FAILED,
                "Mar  5 11:00:05 other last message repeated 4 times",
            ],
            1,
        ),
        (
            &[
                FAILED,
                LATER,
                "Mar  5 11:00:05 h last message repeated 4 times",
            ],
            1,
        ),
    ];

    for (lines, expected) in cases {
        let found = failures(lines);
        let total: u32 = found.iter().map(|(_, times)| times).sum();
        assert_eq!(total, *expected, "{found:?} of {lines:#?}");
        assert!(
            found.iter().all(|(client, _)| client == "203.0.113.9"),
            "{found:?}"
        );
    }
}

#[test]
fn lines_of_pam_name_who_failed() {
    for (message, expected) in [
        (
            "error: PAM: Authentication error for root from evil.example",
            "evil.example",
        ),
        (
            "error: PAM: authentication error for james from 203.0.113.9 via 192.168.1.201",
            "203.0.113.9",
        ),
        (
            "error: PAM: User not known to the underlying authentication module for illegal user \
                x from 9.9.9.9 from 203.0.113.9 ",
            "203.0.113.9",
        ),
        (
            "error: PAM: Have exhausted maximum number of retries for service for root from ::1",
            "::1",
        ),
        (
            "error: PAM: Authentication failure for illegal user x from 9.9.9.9 y",
            "h",
        ),
        (
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= \
                rhost=evil.example ",
            "evil.example",
        ),
    ] {
        let line = format!("Mar  5 11:00:01 h sshd[1]: {message}");
        assert_eq!(failures(&[&line]), [(expected.to_owned(), 1)], "{message}");
    }

    let other = "Mar  5 11:00:01 h sshd[1]: error: PAM: pam_open_session(): Permission denied";
    assert_eq!(failures(&[other]), []);
}

#[test]
fn a_held_line_is_released_in_time() {
    let pam = "pam_unix(sshd:auth): authentication failure; rhost=203.0.113.9  user=root";
    let line = format!("Mar  5 11:00:01 h sshd[1]: {pam}");
    let parser = (Format::named("syslog").unwrap().parser)(ParseContext::utc(Timestamp::MAX));
    let id = LineId { file: 1, offset: 1 };
    let arrived = Timestamp::parse("2026-03-05T11:00:02Z").unwrap();
    let place = Place {
        number: 0,
        id,
        arrived: Some(arrived),
    };

    let mut sequencer = Sequencer::of_socket();
    let mut events = Vec::new();
    let taken = sequencer.push(parser.read(line.as_bytes(), id), place, &mut events);
    assert_eq!(taken, Taken::Held);
    sequencer.flush(arrived.plus(Span::secs(5)), &mut events);
    assert!(events.is_empty() && sequencer.holds_events());
    sequencer.flush(arrived.plus(Span::secs(21)), &mut events);
    assert_eq!((events.len(), sequencer.holds_events()), (1, false));
}

/// Returns the time of day in UTC of each line's event.
fn times(lines: &[(&str, Option<&str>)]) -> Vec<String> {
    let texts: Vec<String> = lines
        .iter()
        .map(|(time, _)| {
            format!("{time} sshd[1]: Failed password for root from 203.0.113.9 port 22 ssh2")
        })
        .collect();
    let lines: Vec<_> = texts
        .iter()
        .zip(lines)
        .map(|(text, (_, arrived))| (text.as_str(), *arrived))
        .collect();
    read_lines(&lines, "America/New_York")
        .iter()
        .map(|event| event.timestamp.to_string()[11..19].to_owned())
        .collect()
}

#[test]
fn an_hour_that_comes_twice_is_told_apart_by_its_neighbors() {
    let read = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| (*line, None)).collect();
        times(&lines)
    };

    // Clocks go back from 02:00 EDT (06:00 UTC) to 01:00 EST.
    assert_eq!(
        read(&[
            "Nov  1 01:58:02 h",
            "Nov  1 01:05:01 h",
            "Nov  1 01:05:09 h",
            "Nov  1 02:01:00 h"
        ]),
        ["05:58:02", "06:05:01", "06:05:09", "07:01:00"]
    );
    // A line that is a little out of order is not the second pass.
    assert_eq!(
        read(&[
            "Nov  1 01:30:05 h",
            "Nov  1 01:30:01 h",
            "Nov  1 01:59:59 h",
            "Nov  1 01:00:00 h"
        ]),
        ["05:30:05", "05:30:01", "05:59:59", "06:00:00"]
    );
    // Another machine's clock says nothing.
    assert_eq!(
        read(&[
            "Nov  1 01:58:02 a",
            "Nov  1 01:05:01 b",
            "Nov  1 01:59:00 a",
            "Nov  1 01:06:00 a"
        ]),
        ["05:58:02", "05:05:01", "05:59:00", "06:06:00"]
    );
    // A time with its zone needs no neighbor.
    assert_eq!(
        read(&["Nov  1 01:58:02 h", "Nov  1 01:05:01 EDT: h"]),
        ["05:58:02", "05:05:01"]
    );
}

#[test]
fn an_hour_that_comes_twice_is_told_apart_by_arrival() {
    assert_eq!(
        times(&[
            ("Nov  1 01:05:01 h", Some("2026-11-01T06:05:02Z")),
            ("Nov  1 01:05:01 h", Some("2026-11-01T05:05:02Z")),
            ("Nov  1 01:59:59 h", Some("2026-11-01T06:00:01Z")),
        ]),
        ["06:05:01", "05:05:01", "05:59:59"]
    );
}

/// What reading in batches makes of lines that are read one by one, too.
fn events_of(lines: &[&str], batches: Option<usize>) -> Vec<SecurityEvent<'static>> {
    let parser = (Format::named("syslog").unwrap().parser)(ParseContext {
        latest: Timestamp::parse("2026-11-30T00:00:00Z").unwrap(),
        zone: Zone::named("UTC").unwrap(),
        arrived: None,
        trusted_proxies: Vec::new(),
    });
    let mut sequencer = Sequencer::of_file(None);
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    for (number, line) in (0_u64..).zip(lines) {
        let id = LineId {
            file: 7,
            offset: number,
        };
        let place = Place {
            number,
            id,
            arrived: None,
        };
        let read = parser.read(line.as_bytes(), id);
        if let Some(size) = batches {
            sequencer.push_in_batch(read, place, &mut batch);
            if number % size as u64 == 0 {
                sequencer.end_batch(&batch);
                all.extend(batch.drain(..).map(SecurityEvent::into_owned));
            }
        } else {
            sequencer.push(read, place, &mut batch);
            all.extend(batch.drain(..).map(SecurityEvent::into_owned));
        }
    }
    sequencer.end_batch(&batch);
    all.extend(batch.drain(..).map(SecurityEvent::into_owned));
    sequencer.finish(&mut all);
    all
}

proptest::proptest! {
    #[test]
    fn batches_of_any_size_give_the_same_events(
        kinds in proptest::collection::vec(0_usize..7, 1..60), size in 1_usize..9
    ) {
        let kinds: Vec<&str> = kinds
            .iter()
            .map(|kind| match kind {
                0 => "Mar  4 08:00:01 a sshd[7]: Failed password for root from 192.0.2.1 port 5 ssh2",
                1 => "Mar  4 08:00:02 a last message repeated 3 times",
                2 => "Mar  4 08:00:02 a sshd[8]: Accepted password for dana from 192.0.2.2 port 5 ssh2",
                3 => "Mar  4 08:00:03 a sshd[9]: error: PAM: Authentication failure for root from 192.0.2.3",
                4 => "Mar  4 08:00:03 b last message repeated 2 times",
                5 => "Mar  4 08:00:04 a sshd[7]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root",
                _ => "Mar  4 08:00:05 a cron[1]: (root) CMD (true)",
            })
            .collect();
        proptest::prop_assert_eq!(events_of(&kinds, Some(size)), events_of(&kinds, None));
    }
}
