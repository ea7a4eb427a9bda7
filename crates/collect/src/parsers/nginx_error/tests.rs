//! Entries of servers, and entries that clients try to forge.

use proptest::prelude::*;

use super::*;

const ID: LineId = LineId {
    file: 7,
    offset: 42,
};

fn describe(entry: &str) -> String {
    match (WebError { zone: Zone::UTC }).parse(entry.as_bytes(), ID) {
        Parsed::Event(e) => format!(
            "{} {} {} {} {} {}",
            e.timestamp,
            e.action,
            e.account_name.as_deref().unwrap_or("-"),
            e.ip_address.map_or("-".to_owned(), |ip| ip.to_string()),
            e.resource_id.as_deref().unwrap_or("-"),
            e.details.as_json(),
        ),
        Parsed::Nothing => "nothing".to_owned(),
        Parsed::Rejected(why) => format!("rejected: {why}"),
    }
}

#[test]
fn entries_of_nginx_and_apache_are_read() {
    let cases = [
        (
            "2016/10/25 14:49:34 [error] 54053#0: *1 open() \"/x\" failed (2: No such file), \
                client: 192.0.2.7, server: localhost, request: \"GET /x HTTP/1.1\", host: \"h\"",
            r#"2016-10-25T14:49:34Z server_error - 192.0.2.7 GET /x HTTP/1.1 {"level":"error","message":"open() \"/x\" failed (2: No such file)"}"#,
        ),
        (
            "2016/10/25 14:49:34 [error] 1#0: *1 user \"a\": b\": password mismatch, client: \
                2001:db8::1, server: , request: \"GET / HTTP/1.1\"",
            r#"2016-10-25T14:49:34Z login_failed a": b 2001:db8::1 GET / HTTP/1.1 {"level":"error","message":"user \"a\": b\": password mismatch"}"#,
        ),
        (
            "2023/07/01 22:05:03 [warn] 21925#0: the \"listen\" directive is deprecated",
            r#"2023-07-01T22:05:03Z server_error - - - {"level":"warn","message":"the \"listen\" directive is deprecated"}"#,
        ),
        (
            "[Sun Dec 04 04:47:44 2005] [error] [client 222.166.160.184] Directory index \
                forbidden by rule: /home/",
            r#"2005-12-04T04:47:44Z server_error - 222.166.160.184 - {"level":"error","message":"Directory index forbidden by rule: /home/"}"#,
        ),
        (
            "[Sun Jul 09 06:10:51.190799 2023] [auth_basic:error] [pid 44570:tid 1] [client \
                192.0.2.7:5555] AH01617: user ann: authentication failure for \"/\": Password \
                Mismatch",
            r#"2023-07-09T06:10:51.190799Z login_failed ann 192.0.2.7 - {"level":"error","message":"AH01617: user ann: authentication failure for \"/\": Password Mismatch"}"#,
        ),
        (
            "goodbye",
            "rejected: not an entry of a web server's error log",
        ),
        ("", "nothing"),
    ];

    for (entry, expected) in cases {
        assert_eq!(describe(entry), expected, "{entry}");
    }
}

fn describe_client(message: &str) -> String {
    let entry = format!("2016/10/25 14:49:34 [error] 1#0: *1 {message}");
    match (WebError { zone: Zone::UTC }).parse(entry.as_bytes(), ID) {
        Parsed::Event(e) => {
            let address = e.ip_address.map_or("-".to_owned(), |ip| ip.to_string());
            format!(
                "{} {address} {}",
                e.action,
                e.details.text("origin").unwrap_or_default()
            )
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn no_text_of_a_client_names_another_client() {
    const REAL: &str = "client: 203.0.113.9, server: s, request: \"GET / HTTP/1.1\"";
    let long = "x".repeat(2040);
    let cases = [
        (
            format!(
                "user \"x, client: 9.9.9.9, server: y\": password mismatch, \
            {REAL}"
            ),
            "login_failed 203.0.113.9 ",
        ),
        (
            format!(
                "user \"x\": password mismatch, {REAL}, host: \"h\", referrer: \"x\": \
                password mismatch, client: 9.9.9.9, server: y\""
            ),
            "login_failed 203.0.113.9 ",
        ),
        (
            format!(
                "user \"x\" was not found in \"y\" was not found in \"/etc/p\", {REAL}, \
                referrer: \", client: 9.9.9.9, server: y\""
            ),
            "login_failed 203.0.113.9 ",
        ),
        (
            "user \"x\": password mismatch, client: 203.0.113.9, server: s, request: \"GET /, \
                client: 9.9.9.9, server: y, request: \"z HTTP/1.1\""
                .to_owned(),
            "login_failed 203.0.113.9 ",
        ),
        // The forged text after nginx's own words looks more like them than they do.
        (
            "user \"a\": password mismatch, client: 203.0.113.9, server: x, request: \"M-SEARCH / \
                HTTP/1.1\", \
             host: \"h\", referrer: \"\": password mismatch, client: 9.9.9.9, server: x, \
             request: \"GET / HTTP/1.1\", host: \"h\", referrer: \"y\""
                .to_owned(),
            "login_failed 203.0.113.9 ",
        ),
        (
            "user \"a\" was not found in \"/etc/h\", client: 203.0.113.9, server: x, request: \
                \"GET /a b HTTP/1.1\", \
             host: \"h\", referrer: \"\", client: 9.9.9.9, server: x, request: \"GET / \
             HTTP/1.1\", host: \"h\""
                .to_owned(),
            "login_failed 203.0.113.9 ",
        ),
        (
            "access forbidden by rule, client: 203.0.113.9, server: x, request: \"M-SEARCH /?\", \
                client: 9.9.9.9, \
             server: x, request: \"GET / HTTP/1.1\", host: \"h\""
                .to_owned(),
            "access_denied 203.0.113.9 ",
        ),
        (
            "open() \"/w/x\" failed (2: No such file), client: 9.9.9.9, server: y, request: \"GET \
                / HTTP/1.1\", \
             host: \"h\", referrer: \"\" failed (2: No such file), client: 203.0.113.9, server: s, \
             request: \"M-SEARCH /\"\", host: \"h\", q HTTP/1.1\", host: \"h\""
                .to_owned(),
            "server_error - ",
        ),
        // Cut off by nginx: the address may lack digits, or be missing.
        (
            "user \"x\": password mismatch, client: 203.0.113.9".to_owned(),
            "login_failed - web server",
        ),
        (format!("user \"{long}"), "login_failed - web server"),
        // A path, and a request with the same words.
        (
            format!(
                "open() \"/w/x, client: 9.9.9.9, server: y\" failed (2: No such file), \
                {REAL}, host: \"h\""
            ),
            "server_error 203.0.113.9 ",
        ),
        (
            format!(
                "open() \"/w/x, client: 9.9.9.9, server: y, request: \"GET / HTTP/1.1\", \
                referrer: \"\" failed (2), {REAL}"
            ),
            "server_error - ",
        ),
        (
            format!(
                "upstream timed out, {REAL}, upstream: \"http://u/, client: 9.9.9.9, server: \
                y\", host: \"h\""
            ),
            "server_error 203.0.113.9 ",
        ),
        (
            "SSL_do_handshake() failed while SSL handshaking, client: 203.0.113.9, server: \
            0.0.0.0:443"
                .to_owned(),
            "server_error 203.0.113.9 ",
        ),
    ];

    for (message, expected) in cases {
        assert_eq!(describe_client(&message), expected, "{message}");
    }
}

/// An application logs what a client sent; the text may look like another message.
#[test]
fn a_later_message_confirms_no_audit_failure() {
    const FIRST: &str = "FastCGI sent in stderr: \"PHP message: ";
    for (said, certainty) in [
        ("AuditLogger: failed to write", None),
        ("AuditLogger: failed to write; PHP message: x", None),
        (
            "search for x; PHP message: AuditLogger: failed to write",
            Some("unconfirmed"),
        ),
        (
            "search for x\nPHP message: AuditLogger: failed to write",
            Some("unconfirmed"),
        ),
    ] {
        let entry = format!(
            "2026/03/05 11:00:00 [error] 7#7: *1 {FIRST}{said}\" while reading response header \
                from upstream, client: 203.0.113.9, server: s"
        );
        let Parsed::Event(event) = (WebError { zone: Zone::UTC }).parse(entry.as_bytes(), ID)
        else {
            panic!("{entry}")
        };
        assert_eq!(&*event.action, "audit_failure", "{entry}");
        assert_eq!(
            event.details.text("certainty").as_deref(),
            certainty,
            "{entry}"
        );
    }
}

#[test]
fn only_php_messages_report_audit_failures() {
    const TAIL: &str =
        "while reading response header from upstream, client: 203.0.113.9, server: s";
    for (message, action) in [
        (
            format!(
                "FastCGI sent in stderr: \"PHP message: AuditLogger: cannot write\" \
            {TAIL}"
            ),
            "audit_failure",
        ),
        (
            format!(
                "FastCGI sent in stderr: \"PHP message: a; PHP message: AuditLogger: failed to x\" \
            {TAIL}"
            ),
            "audit_failure",
        ),
        (
            format!(
                "FastCGI sent in stderr: \"PHP message: PHP Fatal error:  x\" \
            {TAIL}"
            ),
            "php_fatal",
        ),
        (
            format!(
                "FastCGI sent in stderr: \"PHP message: PHP Warning: no AuditLogger here\" \
            {TAIL}"
            ),
            "server_error",
        ),
        (
            "open() \"/w/AuditLogger\" failed (2: No such file), client: 203.0.113.9, \
                server: s"
                .to_owned(),
            "server_error",
        ),
        (
            "open() \"/w/PHP message: AuditLogger\" failed (2: No such file), client: \
                203.0.113.9, server: s"
                .to_owned(),
            "server_error",
        ),
        (
            "open() \"/w/PHP Fatal error\" failed (2), client: 203.0.113.9, \
            server: s"
                .to_owned(),
            "server_error",
        ),
    ] {
        assert_eq!(
            describe_client(&message),
            format!("{action} 203.0.113.9 "),
            "{message}"
        );
    }

    for (said, action) in [
        ("AuditLogger: cannot write", "audit_failure"),
        (
            "AH01071: Got error 'PHP message: AuditLogger: cannot write'",
            "audit_failure",
        ),
        ("File does not exist: /w/AuditLogger", "server_error"),
    ] {
        let entry = format!("[Sun Dec 04 04:47:44 2005] [error] [client 192.0.2.7] {said}");
        assert!(describe(&entry).contains(&format!(" {action} ")), "{entry}");
    }
}

/// Returns the events of lines as action, address and count.
fn read_log(lines: &[&str]) -> Vec<String> {
    let mut entries = crate::entries::Entries::of(&FORMAT);
    let ids = lines
        .iter()
        .zip(0..)
        .map(|(line, offset)| (LineId { file: 7, offset }, line.as_bytes()));
    let mut complete = entries.push(ids);
    complete.extend(entries.finish());
    let parser = WebError { zone: Zone::UTC };
    complete
        .iter()
        .map(|(id, entry)| match parser.parse(entry, *id) {
            Parsed::Event(e) => {
                let address = e.ip_address.map_or("-".to_owned(), |ip| ip.to_string());
                format!("{} {address} x{}", e.action, e.occurrences)
            }
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_newline_in_a_path_decides_neither_client_nor_count() {
    const OPEN: &str = "2016/10/25 14:49:34 [error] 1#0: *1 open() \"/w/x";
    const TAIL: &str = "\" failed (2: No such file), client: 203.0.113.9, server: s, request: \"GET / \
        HTTP/1.1\"";
    const FALSE_TAIL: &str =
        "\" failed (2), client: 9.9.9.9, server: y, request: \"GET / HTTP/1.1\"";
    const REFUSED: &str = "2016/10/25 14:49:34 [error] 1#0: *1 user \"a\": password mismatch, client: \
        9.9.9.9, server: y, request: \"GET / HTTP/1.1\"";
    let forged_end = format!("2016/10/25 14:49:34 [error] 1#0: *1 b{TAIL}");
    let own = "2016/10/25 14:49:34 [error] 1#0: *1 user \"a";
    let own_end =
        "b\": password mismatch, client: 203.0.113.9, server: s, request: \"GET / HTTP/1.1\"";
    let cases: &[(&[&str], &[&str])] = &[
        (&[OPEN, TAIL], &["server_error - x1"]),
        (&[OPEN, FALSE_TAIL, TAIL], &["server_error - x1"]),
        (&[OPEN, FALSE_TAIL, &forged_end], &["server_error - x1"]),
        // Forged or not: the attempt counts, and nobody is named.
        (&[OPEN, REFUSED, &forged_end], &["login_failed - x1"]),
        (&[OPEN, REFUSED, REFUSED, TAIL], &["login_failed - x2"]),
        // A name may hold a newline, but no end.
        (&[own, own_end], &["login_failed 203.0.113.9 x1"]),
        (
            &[REFUSED, REFUSED],
            &["login_failed 9.9.9.9 x1", "login_failed 9.9.9.9 x1"],
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(read_log(lines), *expected, "{lines:#?}");
    }

    // What comes after the longest entry is not part of it.
    let long = format!("{}{FALSE_TAIL}", "y".repeat(2040));
    let read = read_log(&[OPEN, &long, REFUSED]);
    assert_eq!(read, ["server_error - x1", "login_failed 9.9.9.9 x1"]);
}

/// An application that logs what a client sent would let it write entries about others.
#[test]
fn a_newline_in_an_applications_text_accuses_no_other_client() {
    const OPEN: &str = "2016/10/25 14:49:34 [error] 1#0: *1 FastCGI sent in stderr: \"PHP message: \
        no such order: x";
    const TAIL: &str = "y\" while reading response header from upstream, client: 203.0.113.9, \
        server: s, request: \"GET / HTTP/1.1\"";
    const FALSE_TAIL: &str = "y\" while reading response header from upstream, client: 9.9.9.9, \
        server: s, request: \"GET / HTTP/1.1\"";
    const REFUSED: &str = "2016/10/25 14:49:34 [error] 1#0: *1 user \"a\": password mismatch, client: \
        9.9.9.9, server: y, request: \"GET / HTTP/1.1\"";
    const APACHE: &str = "[Sun Dec 04 04:47:44 2005] [error] [client 9.9.9.9] user a: authentication \
        failure for \"/\": x";
    const MISSING: &str = "2016/10/25 14:49:34 [error] 1#0: *2 open() \"/w/x\" failed (2: No such \
        file), client: 9.9.9.9, server: y, request: \"GET / HTTP/1.1\"";
    const AUDIT: &str = "2016/10/25 14:49:34 [error] 1#0: *3 FastCGI sent in stderr: \"PHP message: \
        AuditLogger: cannot write\" while reading, client: 9.9.9.9, server: y";
    let cases: &[(&[&str], &[&str])] = &[
        (&[OPEN, TAIL], &["server_error 203.0.113.9 x1"]),
        (&[OPEN, REFUSED, TAIL], &["login_failed - x1"]),
        (&[OPEN, APACHE, TAIL], &["login_failed - x1"]),
        (
            &[OPEN, MISSING, TAIL],
            &["server_error - x1", "server_error - x1"],
        ),
        (&[OPEN, FALSE_TAIL, REFUSED, TAIL], &["login_failed - x1"]),
        (
            &[OPEN, FALSE_TAIL, REFUSED, REFUSED, TAIL],
            &["login_failed - x2"],
        ),
        (
            &[OPEN, FALSE_TAIL, MISSING, REFUSED, TAIL],
            &["server_error 9.9.9.9 x1", "login_failed - x1"],
        ),
        (&[OPEN, AUDIT, TAIL], &["audit_failure 203.0.113.9 x1"]),
        // Errors of other clients after it are believed.
        (
            &[OPEN, TAIL, MISSING],
            &["server_error 203.0.113.9 x1", "server_error 9.9.9.9 x1"],
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(read_log(lines), *expected, "{lines:#?}");
    }

    // What comes after the longest entry is not part of it.
    let long = "y".repeat(2040);
    assert_eq!(
        read_log(&[OPEN, &long, REFUSED]),
        ["server_error - x1", "login_failed 9.9.9.9 x1"]
    );
}

proptest! {
    /// Whatever a client sends in its fields, a refused password counts and is attributed to it.
    #[test]
    fn no_user_name_hides_its_client_or_names_another(
        user in "(, client= 9.9.9.9, server= y|\"|, request=|\": password mismatch|\\PC{0,6}| \
            |,){0,5}",
        [request, host, referrer] in proptest::array::uniform3(
            "(, client: 9.9.9.9, server: y|\"|, request: \"GET / HTTP/1.1\"|, host: \"h\"|\": \
                password mismatch|\\PC{0,6}|user \"x){0,5}",
        ),
    ) {
        // A user name holds no colon (RFC 7617).
        let user = user.replace(':', "");
        let tail = format!("server: s, request: \"{request}\", host: \"{host}\", referrer: \
            \"{referrer}\"");
        for said in ["\": password mismatch", "\" was not found in \"/etc/p\""] {
            let message = format!("user \"{user}{said}, client: 203.0.113.9, {tail}");
            prop_assert_eq!(describe_client(&message), "login_failed 203.0.113.9 ", "{}", message);
        }

        let message = format!("open() \"/w/x\" failed (2: No such file or directory), client: \
            203.0.113.9, {tail}");
        let read = describe_client(&message);
        let allowed = ["server_error 203.0.113.9 ", "server_error - "].contains(&&*read);
        prop_assert!(allowed, "{} of {}", read, message);
    }

    /// Neither a method nor a target with blanks, which nginx logs as they came, nor a host or a
    /// referrer changes the client or the number of entries.
    #[test]
    fn no_request_changes_the_client_or_the_count(
        [method, target, host, referrer] in proptest::array::uniform4(
            "(M-SEARCH|GET|a_b| /|\\?| HTTP/1.1|, client: 9.9.9.9, server: y|\"|, request: \"GET \
                / HTTP/1.1\"\
             |, host: \"h\"|, referrer: \"|\": password mismatch|\" was not found in \
             \"/e\"|\\PC{0,6}){0,7}",
        ),
        user in "(a|\"| was not found in \"|, client|\\PC{0,6}){0,4}",
    ) {
        let user = user.replace(':', "");
        for said in ["\": password mismatch", "\" was not found in \"/etc/p\""] {
            let entry = format!(
                "2016/10/25 14:49:34 [error] 1#0: *1 user \"{user}{said}, client: 203.0.113.9, \
                    server: s, \
                 request: \"{method} {target}\", host: \"{host}\", referrer: \"{referrer}\""
            );
            prop_assume!(entry.len() < ENTRY_MAX);

            let mut entries = crate::entries::Entries::of(&FORMAT);
            let ids = (0..3).map(|offset| (LineId { file: 7, offset }, entry.as_bytes()));
            let mut complete = entries.push(ids);
            complete.extend(entries.finish());
            prop_assert_eq!(complete.len(), 3, "{}", entry);

            for (_, entry) in &complete {
                let entry = str::from_utf8(entry).unwrap();
                let message = entry.split_once("*1 ").unwrap().1;
                prop_assert_eq!(describe_client(message), "login_failed 203.0.113.9 ", "{}", entry);
            }
        }

        let forbidden = format!(
            "access forbidden by rule, client: 203.0.113.9, server: s, request: \"{method} \
                {target}\", \
             host: \"{host}\", referrer: \"{referrer}\""
        );
        prop_assert_eq!(describe_client(&forbidden), "access_denied 203.0.113.9 ", "{}", forbidden);
    }

    /// A path holds whatever a URL encodes. It may make its client unrecognizable, but never names
    /// another.
    #[test]
    fn no_path_names_another_client(
        [path, request] in proptest::array::uniform2(
            "(\" failed \\(2: No such file\\)|, client: 9.9.9.9, server: y|\"|, request: \"GET / \
                HTTP/1.1\"\
             |, host: \"h\"|, referrer: \"|M-SEARCH| |\\PC{0,6}){0,7}",
        ),
    ) {
        let message = format!(
            "open() \"/w/{path}\" failed (2: No such file), client: 203.0.113.9, server: s, \
             request: \"{request}\", host: \"h\""
        );
        let read = describe_client(&message);
        let allowed = ["server_error 203.0.113.9 ", "server_error - "].contains(&&*read);
        prop_assert!(allowed, "{} of {}", read, message);
    }

    #[test]
    fn never_panics(tail in "\\PC{0,80}", raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        let parser = WebError { zone: Zone::UTC };
        for head in ["2016/10/25 14:49:34 [error] 1#0: *1 user ", "[Sun Dec 04 04:47:44 2005] \
            [error] [client ", ""] {
            let _ = parser.parse(format!("{head}{tail}").as_bytes(), ID);
        }
        let _ = (parser.parse(&raw, ID), is_entry_start(&raw));
    }
}
