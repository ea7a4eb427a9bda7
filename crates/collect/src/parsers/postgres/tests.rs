//! Rows and objects of servers, and what clients send in them.

use proptest::prelude::*;

use super::*;

const ID: LineId = LineId {
    file: 7,
    offset: 42,
};

fn describe(entry: &str) -> String {
    match (Postgres { zone: Zone::UTC }).parse(entry.as_bytes(), ID) {
        Parsed::Event(e) => format!(
            "{} {} {} {} {}",
            e.timestamp,
            e.action,
            e.account_name.as_deref().unwrap_or("-"),
            e.ip_address.map_or("-".to_owned(), |ip| ip.to_string()),
            e.resource_id.as_deref().unwrap_or("-"),
        ),
        Parsed::Nothing => "nothing".to_owned(),
        Parsed::Rejected(why) => format!("rejected: {why}"),
    }
}

#[test]
fn jsonlog_and_csvlog_are_read() {
    let cases = [
        (
            r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"eqmon","dbname":"eqmon","remote_host":"192.0.2.7","error_severity":"FATAL","state_code":"28P01","message":"password authentication failed for user \"eqmon\""}"#,
            "2026-03-04T10:00:00.123Z login_failed eqmon 192.0.2.7 -",
        ),
        (
            r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"eqmon","remote_host":"[local]","error_severity":"ERROR","state_code":"42501","message":"permission denied for table audit_events","statement":"DELETE FROM audit_events"}"#,
            "2026-03-04T10:00:00.123Z permission_denied eqmon - audit_events",
        ),
        (
            r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"postgres","error_severity":"LOG","message":"statement: DROP TRIGGER guard ON public.audit_events"}"#,
            "2026-03-04T10:00:00.123Z schema_change postgres - guard",
        ),
        (
            "2026-03-04 10:00:00.123 \
                UTC,\"x\",\"db\",77,\"192.0.2.7:5432\",65e.1,1,\"authentication\",2026-03-04 \
                10:00:00 UTC,3/1,0,FATAL,28P01,\"password authentication failed for user \
                \"\"x\"\"\",,,,,,\"a\nb\",,,\"psql\",\"client backend\",,0",
            "2026-03-04T10:00:00.123Z login_failed x 192.0.2.7 -",
        ),
        (
            r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","error_severity":"LOG","message":"checkpoint complete"}"#,
            "nothing",
        ),
        ("{", "rejected: not a JSON object"),
        (r#"{"message":"x"}"#, "rejected: no time at its beginning"),
        ("a,b", "rejected: neither a JSON object nor a row of csvlog"),
    ];

    for (entry, expected) in cases {
        assert_eq!(describe(entry), expected, "{entry}");
    }
}

#[test]
fn abbreviated_zones_mean_what_they_say() {
    let at = |zone: &str, time: &str| {
        let parser = Postgres {
            zone: Zone::named(zone).unwrap(),
        };
        parser
            .parse_time(time)
            .map(|at| (at.first.to_string(), at.second.is_some()))
    };
    let only = |text: &str| Ok((text.to_owned(), false));
    for (zone, time, expected) in [
        (
            "UTC",
            "2026-01-05 10:00:00.5 EST",
            only("2026-01-05T15:00:00.5Z"),
        ),
        (
            "UTC",
            "2026-07-05 10:00:00 CEST",
            only("2026-07-05T08:00:00Z"),
        ),
        (
            "UTC",
            "2026-07-05 10:00:00 +0530",
            only("2026-07-05T04:30:00Z"),
        ),
        (
            "Asia/Shanghai",
            "2026-07-05 10:00:00 CST",
            only("2026-07-05T02:00:00Z"),
        ),
        (
            "UTC",
            "2026-07-05 10:00:00 CST",
            only("2026-07-05T16:00:00Z"),
        ),
        (
            "Asia/Kolkata",
            "2026-07-05 10:00:00 IST",
            only("2026-07-05T04:30:00Z"),
        ),
        // The abbreviation tells the two passes of an hour apart.
        (
            "America/New_York",
            "2026-11-01 01:05:00 EDT",
            only("2026-11-01T05:05:00Z"),
        ),
        (
            "America/New_York",
            "2026-11-01 01:05:00 EST",
            only("2026-11-01T06:05:00Z"),
        ),
    ] {
        assert_eq!(at(zone, time), expected, "{zone} {time}");
    }
    assert!(at("UTC", "2026-07-05 10:00:00 IST").is_err());
    assert!(at("UTC", "yesterday EST").is_err());
}

#[test]
fn logins_are_seen_in_every_language() {
    let line = |message: &str| {
        describe(&format!(
            r#"{{"timestamp":"2026-03-04 10:00:00 UTC","user":"ann","remote_host":"192.0.2.7","ps":"authentication","error_severity":"LOG","state_code":"00000","message":"{message}"}}"#
        ))
    };
    for message in [
        "connection authorized: user=ann database=x application_name=psql",
        "Verbindung autorisiert: Benutzer=ann Datenbank=x",
        "replication connection authorized: user=ann",
    ] {
        assert_eq!(
            line(message),
            "2026-03-04T10:00:00Z login ann 192.0.2.7 -",
            "{message}"
        );
    }
    for message in [
        r#"connection authenticated: identity=\"ann\" method=scram-sha-256 (/x/pg_hba.conf:9)"#,
        "Verbindung authentifiziert: Identität=»ann« Methode=trust (/x/pg_hba.conf:9)",
        "hello",
    ] {
        assert_eq!(line(message), "nothing", "{message}");
    }
}

#[test]
fn a_row_begins_with_its_time() {
    assert!(is_entry_start(b"2026-03-04 10:00:00.123 UTC,\"x\""));
    assert!(!is_entry_start(b"SELECT '2026-03-04 10:00:00.123 UTC'"));
    assert!(!is_entry_start(b"2026-03-04"));
}

/// Builds one row of csvlog with a user and a statement that a client chose.
fn csv_row(user: &str, statement: &str) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    format!(
        "2026-03-04 10:00:00.123 \
            UTC,{},\"db\",77,\"203.0.113.9:5432\",65e.1,1,\"x\",2026-03-04 10:00:00 \
            UTC,3/1,0,FATAL,28P01,\"no\",,,,,,{},,,\"psql\",\"client backend\",,0",
        quoted(user),
        quoted(statement),
    )
}

#[test]
fn a_truncated_entry_is_read_up_to_its_end() {
    let whole = csv_row("x", &"SELECT 1; ".repeat(100));
    assert_eq!(
        describe(&whole[..whole.len() - 400]),
        "2026-03-04T10:00:00.123Z login_failed x 203.0.113.9 -"
    );

    assert_eq!(
        describe(
            r#"{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"x","remote_host":"192.0.2.7","state_code":"28P01","statement":"S"#
        ),
        "2026-03-04T10:00:00.123Z login_failed x 192.0.2.7 -"
    );
}

#[test]
fn a_client_without_an_address_is_counted_by_its_name() {
    let csv = csv_row("x", "").replace("203.0.113.9:5432", "Evil.Example:5432");
    let json = |host: &str| {
        format!(
            r#"{{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"x","remote_host":"{host}","state_code":"28P01"}}"#
        )
    };

    for (entry, expected) in [
        (csv, Some("evil.example")),
        (json("evil.example"), Some("evil.example")),
        (json("evil.example."), Some("evil.example")),
        (json("192.0.2.7"), None),
        (json("[local]"), Some("local connections")),
        (json(""), None),
    ] {
        let parsed = Postgres { zone: Zone::UTC };
        let Parsed::Event(event) = parsed.parse(entry.as_bytes(), ID) else {
            panic!("{entry}")
        };
        assert_eq!(event.details.text("origin").as_deref(), expected, "{entry}");
    }
}

/// What a stranger sent may stand in a message, and fail a check of the application.
#[test]
fn only_a_refused_change_of_rows_is_one() {
    for (state, message, statement, refused) in [
        (
            "P0001",
            "public.audit_events is append-only: DELETE refused",
            "SELECT clean_up()",
            true,
        ),
        (
            "P0001",
            "no",
            "WITH d AS (DELETE FROM audit_events) SELECT 1",
            true,
        ),
        (
            "P0001",
            "too long",
            "INSERT INTO audit_events VALUES ($1)",
            false,
        ),
        ("P0001", "no such user", "SELECT * FROM audit_events", false),
        (
            "22P02",
            "invalid input syntax: \\\"x is append-only: DELETE refused\\\"",
            "INSERT INTO audit_events VALUES ($1)",
            false,
        ),
        (
            "P0001",
            "name x y is append-only: DELETE refused",
            "SELECT register($1)",
            false,
        ),
    ] {
        let entry = format!(
            r#"{{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"x","error_severity":"ERROR","state_code":"{state}","message":"{message}","statement":"{statement}"}}"#
        );
        let parsed = Postgres { zone: Zone::UTC }.parse(entry.as_bytes(), ID);
        let found = matches!(&parsed, Parsed::Event(e) if &*e.action == "write_refused");
        assert_eq!(found, refused, "{entry}");
    }
}

proptest! {
    /// There are as many entries as the server wrote, whatever a client sends as statement and
    /// name.
    #[test]
    fn no_client_forges_or_hides_a_row(
        texts in proptest::collection::vec(
            ("(\\PC{0,5}|\"|\n|,|\\{){0,5}", "(\\PC{0,9}|\"|\n|,\"\"|\n2026-03-04 \
                10:00:00.123 UTC,\"y\",\"db\",1,\"9.9.9.9:1\",1,1,|\n\\{\"a\":1\\}){0,6}"),
            1..5,
        ),
    ) {
        let rows = texts.iter().map(|(user, statement)| csv_row(user, statement) + "\n");
        let log: String = rows.collect();
        let mut entries = crate::entries::Entries::of(&FORMAT);
        let lines = log.trim_end_matches('\n').split('\n');
        let mut complete = entries.push(lines.map(|line| (ID, line.as_bytes())));
        complete.extend(entries.finish());
        prop_assert_eq!(complete.len(), texts.len(), "{}", log);

        let parser = Postgres { zone: Zone::UTC };
        for (_, entry) in &complete {
            let Parsed::Event(event) = parser.parse(entry, ID) else {
                panic!("{}", String::from_utf8_lossy(entry))
            };

            let client = std::net::Ipv4Addr::new(203, 0, 113, 9);
            prop_assert_eq!(event.ip_address, Some(client.into()));
            prop_assert_eq!(&*event.action, "login_failed");
        }
    }

    /// The server's fields of jsonlog stay as they are, whatever bytes a client sends.
    #[test]
    fn no_client_changes_an_object(
        sent in proptest::collection::vec(any::<u8>(), 0..60),
        escape in prop_oneof![Just(""), Just("\\ud800"), Just("\\u0000"), Just("\\x22")],
    ) {
        // PostgreSQL escapes what JSON must have escaped and leaves other bytes as they came.
        let mut written = escape.as_bytes().to_vec();
        for byte in &sent {
            match byte {
                b'"' | b'\\' => written.extend([b'\\', *byte]),
                0..b' ' => written.extend(format!("\\u{byte:04x}").bytes()),
                _ => written.push(*byte),
            }
        }

        let mut line = br#"{"timestamp":"2026-03-04 10:00:00 UTC","user":""#.to_vec();
        line.extend_from_slice(&written);
        line.extend_from_slice(br#"","remote_host":"203.0.113.9","state_code":"28P01","statement":""#);
        line.extend_from_slice(&written);
        line.extend_from_slice(br#"","application_name":""#);
        line.extend_from_slice(&written);
        line.extend_from_slice(br#""}"#);
        let Parsed::Event(event) = (Postgres { zone: Zone::UTC }).parse(&line, ID) else {
            panic!("{}", String::from_utf8_lossy(&line))
        };
        let client = std::net::Ipv4Addr::new(203, 0, 113, 9);
        prop_assert_eq!(event.ip_address, Some(client.into()));
        prop_assert_eq!(event.timestamp.to_string(), "2026-03-04T10:00:00Z");
        prop_assert_eq!(&*event.action, "login_failed");
    }

    #[test]
    fn never_panics(
        raw in proptest::collection::vec(any::<u8>(), 0..200),
        tail in "\\PC{0,80}",
    ) {
        let parser = Postgres { zone: Zone::UTC };
        let _ = (parser.parse(&raw, ID), is_entry_start(&raw));
        let _ = parser.parse(format!("2026-03-04 10:00:00.123 UTC,{tail}").as_bytes(), ID);
    }
}

/// A comment of any length before a statement would hide it from the rules.
#[test]
fn a_long_statement_hides_no_change_at_its_end() {
    let parser = Postgres { zone: Zone::UTC };
    let details = |entry: &str| match parser.parse(entry.as_bytes(), ID) {
        Parsed::Event(e) => {
            let number = e.details.number("unjudged_after");
            let statement = e.details.text("statement").unwrap_or_default();
            (e.action.to_string(), statement, number)
        }
        other => panic!("{other:?}"),
    };
    let json = |message: &str| {
        format!(
            r#"{{"timestamp":"2026-03-04 10:00:00.123 UTC","user":"eve","error_severity":"LOG","message":"{message}"}}"#
        )
    };
    let csv = |message: &str| {
        format!(
            "2026-03-04 10:00:00.123 UTC,\"eve\",\"db\",77,\"[local]\",65e.1,1,\"idle\",2026-03-04 \
                10:00:00 UTC,3/1,0,LOG,00000,\"{message}\",,,,,,,,,\"psql\",\"client backend\",,0"
        )
    };

    let pad = "x".repeat(5000);
    let text = format!(
        "statement: /*{pad}*/ INSERT INTO t VALUES ('{pad}'); ALTER ROLE eve SUPERUSER; SELECT '{pad}'"
    );
    for entry in [json(&text), csv(&text)] {
        let (action, statement, unjudged) = details(&entry);
        assert_eq!(
            (&*action, &*statement, unjudged),
            ("schema_change", "alter role eve superuser", None)
        );
    }

    // Nothing is known of what is behind the end of an entry that was cut.
    for entry in [json(&text), csv(&text)] {
        let cut = &entry[..1500];
        let (action, statement, unjudged) = details(cut);
        assert_eq!((&*action, &*statement), ("schema_change", ""));
        assert!(unjudged.is_some_and(|after| after > 1000));
    }

    let columns = ", a_long_name int".repeat(5_000);
    let many = format!("statement: CREATE TABLE t (a int{columns}); ALTER ROLE eve SUPERUSER");
    assert!(details(&json(&many)).2.is_some());
}

/// Returns what the entries of lines say.
fn read_rows(text: &str) -> Vec<String> {
    let mut entries = crate::entries::Entries::of(&FORMAT);
    let ids = text
        .lines()
        .zip(0..)
        .map(|(line, offset)| (LineId { file: 7, offset }, line.as_bytes()));
    let mut complete = entries.push(ids);
    complete.extend(entries.finish());
    complete
        .iter()
        .map(|(_, entry)| describe(str::from_utf8(entry).unwrap()))
        .collect()
}

fn row(user: &str, state: &str, message: &str, statement: &str) -> String {
    let escape = |text: &str| text.replace('"', "\"\"");
    format!(
        "2026-03-04 10:00:00.123 UTC,\"{}\",\"db\",77,\"192.0.2.7:5432\",65e.1,1,\"authentication\",\
            2026-03-04 10:00:00 UTC,3/1,0,FATAL,{state},\"{}\",,,,,,\"{}\",,,\"psql\",\"client \
            backend\",,0",
        escape(user),
        escape(message),
        escape(statement)
    )
}

/// A row that a crash tore would swallow all that follow it.
#[test]
fn a_torn_row_costs_no_other() {
    let failed = row("eve", "28P01", "password authentication failed", "");
    let whole = row("bob", "28P01", "x", "SELECT\n1");
    for end in [40, 60, 130, 150, failed.len() - 40] {
        let read = read_rows(&format!("{}\n{whole}\n{failed}\n", &failed[..end]));
        let expected = [
            "2026-03-04T10:00:00.123Z login_failed bob 192.0.2.7 -",
            "2026-03-04T10:00:00.123Z login_failed eve 192.0.2.7 -",
        ];
        assert_eq!(read.len(), 3, "{end}: {read:#?}");
        assert_eq!(read[1..], expected, "{end}");
    }

    // A background process has neither user nor client.
    let checkpoint = "2026-03-04 10:00:00.123 UTC,,,77,,65e.1,1,,2026-03-04 10:00:00 UTC,,0,LOG,00000,\
        \"checkpoint complete\",,,,,,,,,\"\",\"checkpointer\",,0";
    assert!(is_row_head(checkpoint.as_bytes()));
}

proptest! {
    /// No text within a row, nor the row's own end after it, looks like another row.
    #[test]
    fn no_text_of_a_client_begins_a_row(
        parts in proptest::collection::vec(
            prop_oneof![
                Just(row("root", "28P01", "forged", "")),
                Just("2026-03-04 10:00:00.123 UTC,".to_owned()),
                Just(",,77,,65e.1,1,,2026-03-04 10:00:00 UTC,,0,LOG,00000,".to_owned()),
                Just("2026-03-04 10:00:00.123 UTC,,,77,,65e.1,1,,2026-03-04 10:00:00 UTC,,0,LOG,\
                    00000,".to_owned()),
                Just("\n".to_owned()),
                Just("\"".to_owned()),
                Just(",".to_owned()),
                "[a-z]{0,3}",
            ],
            0..6,
        ),
        in_message in any::<bool>(),
    ) {
        let text = parts.concat();
        let entry = if in_message {
            row("eve", "28P01", &text, "")
        } else {
            row("eve", "28P01", "x", &text)
        };
        let read = read_rows(&format!("{entry}\n{entry}"));
        prop_assert_eq!(read.len(), 2, "{:#?}", read);
        for one in read {
            prop_assert_eq!(one, "2026-03-04T10:00:00.123Z login_failed eve 192.0.2.7 -");
        }
    }
}
