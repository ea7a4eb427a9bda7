//! Lines of servers, and what clients send in them.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const ID: LineId = LineId {
    file: 7,
    offset: 42,
};

fn parser() -> Access {
    let now = Timestamp::from_secs(1_772_712_451);
    Access::new(ParseContext {
        trusted_proxies: vec![Network::new("10.0.0.0".parse().unwrap(), 8).unwrap()],
        ..ParseContext::utc(now)
    })
}

fn describe(line: &str) -> String {
    match parser().parse(line.as_bytes(), ID) {
        Parsed::Event(e) => format!(
            "{} {} {} {} {} {} {:?} {}",
            e.timestamp,
            e.ip_address.map_or("-".to_owned(), |ip| ip.to_string()),
            e.user_id
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string),
            e.resource_type.as_deref().unwrap_or("-"),
            e.resource_id.as_deref().unwrap_or("-"),
            e.user_agent.as_deref().unwrap_or("-"),
            e.result,
            e.details.as_json(),
        ),
        Parsed::Nothing => "nothing".to_owned(),
        Parsed::Rejected(why) => format!("rejected: {why}"),
    }
}

#[test]
fn combined_and_json_lines_are_read() {
    let cases = [
        (
            r#"192.0.2.7 - - [25/Oct/2016:14:49:33 +0200] "GET /a?b=c HTTP/1.1" 404 571 "http://x/" "curl/8""#,
            r#"2016-10-25T12:49:33Z 192.0.2.7 - GET /a?b=c curl/8 Failure {"status":404,"bytes":571,"referer":"http://x/"}"#,
        ),
        (
            r#"www.example.com:443 2001:db8::1 - ann b [25/Oct/2016:14:49:33 -0130] "POST / HTTP/2.0" 403 - "-" "-" "more" 0.2"#,
            r#"2016-10-25T16:19:33Z 2001:db8::1 ann b POST / - Denied {"status":403,"duration_ms":200}"#,
        ),
        // Apache escapes quotation marks, old servers do not, and some clients do not send
        // HTTP.
        (
            r#"192.0.2.7 - - [25/Oct/2016:14:49:33 +0000] "GET /\"x\" y HTTP/1.1" 200 5 "-" "a \"b\"""#,
            r#"2016-10-25T14:49:33Z 192.0.2.7 - GET /\"x\" y a \"b\" Success {"status":200,"bytes":5}"#,
        ),
        (
            r#"192.0.2.7 - - [25/Oct/2016:14:49:33 +0000] "\x16\x03\x01" 400 150 "-" "-""#,
            r#"2016-10-25T14:49:33Z 192.0.2.7 - - \x16\x03\x01 - Failure {"status":400,"bytes":150}"#,
        ),
        (
            r#"crawler.example.org - - [25/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5"#,
            r#"2016-10-25T14:49:33Z - - GET / - Success {"status":200,"bytes":5,"host":"crawler.example.org","origin":"crawler.example.org"}"#,
        ),
        (
            r#"{"time_iso8601":"2026-03-04T10:00:00+01:00","remote_addr":"192.0.2.7","request":"GET /x HTTP/1.1","status":"302","http_user_agent":"é"}"#,
            r#"2026-03-04T09:00:00Z 192.0.2.7 - GET /x é Success {"status":302}"#,
        ),
        (
            r#"{"msg":"hello"}"#,
            "rejected: a JSON object without time_iso8601 or remote_addr",
        ),
        ("hello", "rejected: not a line of an access log"),
        (
            r#"192.0.2.7 - - [32/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5"#,
            "rejected: not a line of an access log",
        ),
        // The client chooses the whole user name, brackets included.
        (
            r#"192.0.2.7 - x [01/Jan/2020:00:00:00 +0000] y [25/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5 "a [01/Jan/2020:00:00:00 +0000] \"b" "c""#,
            r#"2016-10-25T14:49:33Z 192.0.2.7 x [01/Jan/2020:00:00:00 +0000] y GET / c Success {"status":200,"bytes":5,"referer":"a [01/Jan/2020:00:00:00 +0000] \\\"b"}"#,
        ),
        // The client also chooses the virtual host, which may be an address; an identity may
        // not.
        (
            r#"10.0.0.5 203.0.113.9 - - [25/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5"#,
            r#"2016-10-25T14:49:33Z 203.0.113.9 - GET / - Success {"status":200,"bytes":5}"#,
        ),
        (
            r#"203.0.113.9 9.9.9.9 ann b [25/Oct/2016:14:49:33 +0000] "GET / HTTP/1.0" 200 5"#,
            r#"2016-10-25T14:49:33Z 203.0.113.9 ann b GET / - Success {"status":200,"bytes":5}"#,
        ),
        (
            r#"[2001:db8::1]:443 - - [25/Oct/2016:14:49:33 +0000] "GET /" 5" HTTP/1.0" 404"#,
            r#"2016-10-25T14:49:33Z 2001:db8::1 - GET /" 5" - Failure {"status":404}"#,
        ),
        (
            r#"{"time_iso8601":"2026-03-04T10:00:00+01:00","remote_addr":"192.0.2.7","request":"GET /x HTTP/1.1","status":403,"upstream_response_time":-,"http_user_agent":"a\x22b"}"#,
            r#"2026-03-04T09:00:00Z 192.0.2.7 - GET /x a"b Denied {"status":403}"#,
        ),
        ("\0\0\0", "nothing"),
        ("", "nothing"),
    ];

    for (line, expected) in cases {
        assert_eq!(describe(line), expected, "{line}");
    }
}

const REQUEST: &str = r#"[25/Oct/2016:14:49:33 +0000] "GET /a HTTP/1.0" 404 5"#;

/// The places in which servers and what stands behind them name the client.
#[test]
fn the_client_is_found_at_its_place() {
    let client = "2016-10-25T14:49:33Z 203.0.113.9 ann GET /a";
    for head in [
        "203.0.113.9 - ann",
        "203.0.113.9:55122 - ann",
        "\"203.0.113.9\" - ann",
        "www.example.com:443 203.0.113.9 - ann",
        "10.0.0.5 203.0.113.9 - ann",
        // Lists of proxies, the last of which is trusted.
        "9.9.9.9, 203.0.113.9, 10.0.0.1 - ann",
        "9.9.9.9,203.0.113.9,10.0.0.1 - ann",
        "\"9.9.9.9, 203.0.113.9\" - ann",
        "www.example.com 9.9.9.9, 203.0.113.9 - ann",
        // What syslog daemons and container runtimes put before a line.
        "Oct 25 14:49:33 web1 nginx: 203.0.113.9 - ann",
        "<190>Oct 25 14:49:33 web1 nginx: 203.0.113.9 - ann",
        "<190>Oct 25 14:49:33 nginx: 203.0.113.9 - ann",
        "<190>1 2016-10-25T14:49:33Z web1 nginx 7 - - 203.0.113.9 - ann",
        "2016-10-25T14:49:33.123456789Z stdout F 203.0.113.9 - ann",
        "web_1  | 203.0.113.9 - ann",
        "[pod/web-5d/nginx] 203.0.113.9 - ann",
        "Oct 25 14:49:33 web1 docker[7]: web_1 | www.example.com 203.0.113.9 - ann",
    ] {
        let line = format!("{head} {REQUEST} \"-\" \"-\"");
        assert!(
            describe(&line).starts_with(client),
            "{line}: {}",
            describe(&line)
        );

        let quoted = format!("\"{}\"", line.replace('"', "\\\""));
        assert!(
            describe(&quoted).starts_with(client),
            "{quoted}: {}",
            describe(&quoted)
        );
        let json = serde_json::json!({ "log": format!("{line}\n"), "stream": "stdout" });
        assert!(describe(&json.to_string()).starts_with(client), "{json}");
    }

    for (line, expected) in [
        // Only a proxy that is trusted may name another client.
        (
            format!("10.0.0.1 - - {REQUEST} \"-\" \"-\" \"9.9.9.9, 203.0.113.9\""),
            "203.0.113.9",
        ),
        (
            format!("203.0.113.9 - - {REQUEST} \"-\" \"-\" \"9.9.9.9\""),
            "203.0.113.9",
        ),
        (
            format!("10.0.0.1 - - {REQUEST} \"-\" \"-\" \"0.2\""),
            "10.0.0.1",
        ),
        (format!("fe80::1%eth0 - - {REQUEST}"), "fe80::1"),
        (format!("[2001:db8::1]:443 - - {REQUEST}"), "2001:db8::1"),
        (format!("unix: - - {REQUEST}"), "-"),
        (format!("- - - {REQUEST}"), "-"),
    ] {
        let described = describe(&line);
        let address = described.split(' ').nth(1).unwrap();
        assert_eq!(address, expected, "{line}: {described}");
    }
}

#[test]
fn response_times_are_read() {
    for (tail, expected) in [
        ("0.123", Some(123)),
        ("12.000 0.001", Some(12_000)),
        ("rt=0.250 uct=\"0.001\"", Some(250)),
        ("request_time=1.5", Some(1500)),
        ("\"203.0.113.9\" 0.050", Some(50)),
        ("48231", Some(48)),
        ("3", Some(3000)),
        ("-", None),
        ("fast", None),
        ("1e300.0", None),
        ("", None),
    ] {
        let line = format!("203.0.113.9 - - {REQUEST} \"-\" \"curl\" {tail}");
        let Parsed::Event(event) = parser().parse(line.as_bytes(), ID) else {
            panic!("{line}")
        };
        assert_eq!(event.details.number("duration_ms"), expected, "{line}");
    }

    let json = r#"{"time_iso8601":"2026-03-04T10:00:00Z","remote_addr":"192.0.2.7","status":200,"request_time":"0.042"}"#;
    assert!(
        describe(json).contains(r#""duration_ms":42"#),
        "{}",
        describe(json)
    );
}

/// `$uri` is the path alone, in which no injection is seen.
#[test]
fn the_body_of_a_json_line_is_kept_without_its_secrets() {
    let json = r#"{"time_iso8601":"2026-03-04T10:00:00Z","remote_addr":"192.0.2.7","status":200,"request_body":"user=x'+or+'1'='1&password=hunter2"}"#;
    assert!(
        describe(json).contains("\"body\":\"user=x'+or+'1'='1&password=***\""),
        "{}",
        describe(json)
    );
}

#[test]
fn the_target_of_a_json_line_is_what_was_asked_for() {
    for (fields, target) in [
        (r#""request":"GET /a?b=c HTTP/1.1","uri":"/a""#, "/a?b=c"),
        (
            r#""request_uri":"","request":"GET /a?b=c HTTP/1.1""#,
            "/a?b=c",
        ),
        (
            r#""request_uri":"/x?y","request":"GET /a HTTP/1.1""#,
            "/x?y",
        ),
        (r#""uri":"/a","args":"b=c""#, "/a?b=c"),
        (r#""uri":"/a?b=c","query_string":"b=c""#, "/a?b=c"),
        (r#""url":"/a","args":"""#, "/a"),
    ] {
        let json = format!(
            r#"{{"time_iso8601":"2026-03-04T10:00:00Z","remote_addr":"192.0.2.7","status":200,{fields}}}"#
        );
        let Parsed::Event(event) = parser().parse(json.as_bytes(), ID) else {
            panic!("{json}")
        };
        assert_eq!(event.resource_id.as_deref(), Some(target), "{json}");
    }
}

/// The head of a relay, whose host is an address, is not read as a virtual host and a client.
#[test]
fn the_head_of_a_relay_names_no_client() {
    for head in [
        "2026-03-05T11:00:00.123456+00:00 10.0.0.1 nginx:",
        "2026-03-05T11:00:00Z 10.0.0.1 nginx[7]:",
        "2026-03-05T11:00:00+00:00 10.0.0.1 -",
    ] {
        let described = describe(&format!("{head} 203.0.113.9 - - {REQUEST}"));
        assert!(!described.contains("10.0.0.1"), "{head}: {described}");
    }
}

#[test]
fn a_line_without_a_client_in_its_place_is_rejected() {
    for head in [
        "request from 203.0.113.9 - ann",
        "client=203.0.113.9 - ann",
        "2016-10-25 14:49:33,123 INFO 203.0.113.9 - ann",
        "203.0.113.9",
        "",
        "a b 203.0.113.9 - ann",
    ] {
        let described = describe(&format!("{head} {REQUEST}"));
        assert!(described.starts_with("rejected: "), "{head}: {described}");
    }
    let json = r#"{"time_iso8601":"2026-03-04T10:00:00Z","remote_addr":"no address","status":200}"#;
    assert!(describe(json).starts_with("rejected: "));
}

proptest! {
    #[test]
    fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parser().parse(&line, ID);
    }

    /// With nginx's escaping (quotation marks, backslashes and unprintable bytes as `\xHH`) and
    /// Apache's (`\"`).
    #[test]
    fn no_client_hides_its_request_or_dates_it(
        fields in proptest::array::uniform4(
            "( \\[01/Jan/2020:00:00:00 \\+0000\\]| - |9\\.9\\.9\\.9 |\"|\\\\| 200 5 |\\] \
                \"GET /|[ -~]{0,6}|\\PC{0,3}){0,5}",
        ),
        before in prop_oneof![
            Just(""),
            Just("www.example.com:443 "),
            Just("10.0.0.5 "),
            Just("<190>Oct 25 14:49:33 web1 nginx: "),
            Just("2016-10-25T14:49:33.1Z stdout F "),
            Just("9.9.9.9, "),
        ],
        apache in any::<bool>(),
    ) {
        let escape = |text: &String| {
            let mut written = String::new();
            for byte in text.bytes() {
                match byte {
                    b'"' | b'\\' if apache => written.extend(['\\', char::from(byte)]),
                    b'"' | b'\\' | 0..b' ' | 0x7f.. => {
                        let _ = write!(written, "\\x{byte:02X}");
                    }
                    _ => written.push(char::from(byte)),
                }
            }

            written
        };

        let [user, request, referer, agent] = fields.each_ref().map(escape);
        let line = format!(
            "{before}203.0.113.9 - {user} [25/Oct/2016:14:49:33 +0000] \"{request}\" 404 17 \
                \"{referer}\" \"{agent}\""
        );
        let Parsed::Event(event) = parser().parse(line.as_bytes(), ID) else { panic!("{line}") };
        let client = std::net::Ipv4Addr::new(203, 0, 113, 9);
        prop_assert_eq!(event.ip_address, Some(client.into()), "{}", line);
        prop_assert_eq!(event.timestamp.to_string(), "2016-10-25T14:49:33Z", "{}", line);

        prop_assert_eq!(event.details.number("status"), Some(404), "{}", line);
    }

    #[test]
    fn every_request_becomes_an_event(
        target in "[!-~]{0,40}",
        agent in "\\PC{0,20}",
        status in 100_u16..600,
    ) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let (target, agent) = (escape(&target), escape(&agent));
        let line = format!("192.0.2.7 - - [25/Oct/2016:14:49:33 +0200] \"GET {target} \
            HTTP/1.1\" {status} 5 \"-\" \"{agent}\"");
        let Parsed::Event(event) = parser().parse(line.as_bytes(), ID) else { panic!("{line}") };
        prop_assert_eq!(event.resource_id.as_deref(), Some(target.as_str()));
        prop_assert_eq!(event.details.number("status"), Some(u64::from(status)));
    }
}

/// A payload behind the beginning of an agent or referrer would be cut off before rules see it.
#[test]
fn long_headers_are_kept_for_the_rules() {
    let pad = "x".repeat(3000);
    let line = format!(
        "192.0.2.7 - - [04/Mar/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"{pad}R\" \"{pad}A\""
    );
    let Parsed::Event(event) = Access::new(ParseContext::utc(Timestamp::from_secs(1_772_712_451)))
        .parse(line.as_bytes(), LineId { file: 1, offset: 0 })
    else {
        panic!("not an event");
    };
    assert_eq!(event.user_agent.as_deref().map(str::len), Some(500));
    for (field, end) in [("referer", "R"), ("user_agent", "A")] {
        let text = event.details.text(field).unwrap();
        assert!(text.len() == 3001 && text.ends_with(end), "{field}");
    }
}

/// A client chooses the virtual host: with an odd one it would hide, or accuse another.
#[test]
fn no_virtual_host_hides_its_client_or_names_another() {
    for host in [
        "{",
        "{x}",
        "<x",
        "<190>Oct",
        "<38>2026-03-05T11:00:00Z",
        "2026-03-05T11:00:00Z",
        "11:00:00",
        "a:b",
        "9.9.9.9",
        "9.9.9.9,8.8.8.8",
        "9.9.9.9,",
        "[9.9.9.9]:80",
        "2001:db8::1",
        "[pod",
        "x|y",
        "|",
        "-",
        "unix:",
        "stdout",
    ] {
        let described = describe(&format!("{host} 203.0.113.9 - ann {REQUEST}"));
        let address = described.split(' ').nth(1).unwrap_or_default();
        assert_eq!(address, "203.0.113.9", "{host}: {described}");
    }

    // Before a client that has only a name.
    for host in ["9.9.9.9", "www.example.com", "2001:db8::1"] {
        let described = describe(&format!("{host} crawler.example.org - ann {REQUEST}"));
        assert!(
            described.contains(r#""origin":"crawler.example.org""#)
                && !described.contains("9.9.9.9"),
            "{described}"
        );
    }
}
