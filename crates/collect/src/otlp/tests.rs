use proptest::prelude::*;

use super::*;

/// One request of Python's `opentelemetry-proto` in both encodings.
const SDK: [(&[u8], Encoding); 2] = [
    (include_bytes!("fixtures/sdk.bin"), Encoding::Protobuf),
    (include_bytes!("fixtures/sdk.json"), Encoding::Json),
];

fn read_all(body: &[u8], encoding: Encoding) -> Result<Vec<Meaning>, OtlpError> {
    let mut meanings = Vec::new();
    read_request(body, encoding, 1000, |_, meaning| meanings.push(meaning)).map(|()| meanings)
}

fn unwrap_event(meaning: &Meaning) -> (&AuditRecord<'static>, Value) {
    match meaning {
        Meaning::Event { record, .. } => (
            record,
            serde_json::from_str(record.metadata.as_json()).unwrap(),
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_encodings_of_a_request_mean_the_same() {
    let [binary, json] = SDK.map(|(body, encoding)| read_all(body, encoding).unwrap());
    assert_eq!(binary.len(), 8);
    for (i, (a, b)) in binary.iter().zip(&json).enumerate() {
        // Protobuf's own JSON has these bytes in base64; `read_request` writes them in hexadecimal.
        if i != 5 {
            assert_eq!(a, b, "record {i}");
        }
    }
}

#[test]
fn records_mean_what_the_conventions_say() {
    let meanings = read_all(SDK[0].0, SDK[0].1).unwrap();
    let line = |m: &Meaning| match m {
        Meaning::Event { record: r, service } => format!(
            "{} {} {} {} {}",
            r.category,
            r.action,
            r.result,
            r.ip_address.map_or("-".to_owned(), |ip| ip.to_string()),
            service.as_deref().unwrap_or("-")
        ),
        Meaning::Nothing => "nothing".to_owned(),
        Meaning::Rejected(error) => error.to_string(),
    };

    let lines: Vec<String> = meanings.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "auth login_failed failure 203.0.113.9 eqmon",
            "auth login success 203.0.113.9 eqmon",
            "nothing",
            "system log_error failure - eqmon",
            "access api_request denied 2001:db8::1 eqmon",
            "data file_download success - eqmon",
            "system order_placed success - eqmon",
            "category: is not one of auth, access, admin, data, ai, system",
        ]
    );

    let (failed, metadata) = unwrap_event(&meanings[0]);
    assert_eq!(failed.timestamp, Some(Timestamp::from_secs(1_772_712_451)));
    assert_eq!(
        (failed.session_id.as_deref(), failed.user_agent.as_deref()),
        (Some("s1"), Some("curl/8"))
    );
    assert_eq!(metadata["username"], "alice");
    assert_eq!(metadata["body"], "login of alice");

    assert_eq!(metadata["trace_id"], "000102030405060708090a0b0c0d0e0f");
    assert_eq!(metadata["service.instance.id"], "a1");
    let (error, _) = unwrap_event(&meanings[3]);
    assert_eq!(
        error.timestamp,
        Some(Timestamp::from_secs(1_772_712_451)),
        "the time of observation, where the source gave none"
    );

    let (download, metadata) = unwrap_event(&meanings[5]);
    assert!(download.cui_accessed);
    assert_eq!(metadata["bytes"], 123_456_789_012_u64);
    assert_eq!(
        (&metadata["list"], &metadata["map"]["a"]["b"]),
        (&json!([1, "a", 2.5]), &json!(true))
    );
    assert_eq!(metadata["raw"], "01ff");
}

fn push_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn encode_message(field: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    push_varint(inner.len(), &mut out);
    out.extend_from_slice(inner);
    out
}

/// Encodes a request with one record.
fn encode_request(record: &[u8]) -> Vec<u8> {
    encode_message(1, &encode_message(2, &encode_message(2, record)))
}

/// Reads one record of these attributes; returns category, action and result.
fn classify(name: &str, attributes: &Value) -> String {
    let list: Vec<Value> = attributes
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| {
            let kind = match value {
                Value::Bool(_) => "boolValue",
                Value::Number(_) => "intValue",
                _ => "stringValue",
            };
            json!({ "key": key, "value": { kind: value } })
        })
        .collect();
    let record = json!({ "timeUnixNano": "1772719651000000000", "eventName": name,
        "attributes": list });
    let body = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] });
    let meanings = read_all(body.to_string().as_bytes(), Encoding::Json).unwrap();
    let (record, _) = unwrap_event(&meanings[0]);
    format!("{} {} {}", record.category, record.action, record.result)
}

/// A failed login that an instrumentation spells its own way must not be counted as a login.
#[test]
fn outcomes_mean_what_they_say_however_they_are_spelled() {
    let failed = "auth login_failed failure";
    for outcome in [
        "Failure",
        "FAILED",
        "error",
        " fail ",
        "unknown",
        "",
        "????",
        "unsuccessful",
    ] {
        assert_eq!(
            classify("user.login", &json!({ "event.outcome": outcome })),
            failed,
            "{outcome}"
        );
    }
    assert_eq!(
        classify("user.login", &json!({ "event.outcome": false })),
        failed
    );
    assert_eq!(classify("user.login.failed", &json!({})), failed);
    assert_eq!(
        classify("UserLoginFailed", &json!({ "event.outcome": "success" })),
        failed,
        "the name says otherwise"
    );

    for outcome in ["success", "SUCCESS", "Succeeded", "ok"] {
        assert_eq!(
            classify("user.login", &json!({ "event.outcome": outcome })),
            "auth login success",
            "{outcome}"
        );
    }
    for (outcome, status, expected) in [
        ("unknown", 401, "auth login_failed denied"),
        ("unknown", 500, "auth login_failed failure"),
        ("", 200, "auth login success"),
        ("DENIED", 200, "auth login_failed denied"),
    ] {
        let attributes = json!({ "event.outcome": outcome, "http.response.status_code": status });
        assert_eq!(
            classify("user.login", &attributes),
            expected,
            "{outcome} {status}"
        );
    }
    assert_eq!(
        classify("report.read", &json!({ "event.outcome": "unknown" })),
        "system report_read success",
        "no attempt that is counted"
    );
}

#[test]
fn names_beside_a_login_are_no_logins() {
    for name in [
        "login_banner.viewed",
        "authenticator.registered",
        "login.page.rendered",
        "authentication_method.added",
    ] {
        let is = classify(name, &json!({}));
        assert!(is.starts_with("system "), "{name}: {is}");
    }
    for name in [
        "login.failed",
        "portal.login_form.failed",
        "user.authentication.denied",
        "authenticator.login.rejected",
        "userLogin",
    ] {
        let is = classify(name, &json!({}));
        assert!(is.starts_with("auth login"), "{name}: {is}");
    }
}

#[test]
fn a_malformed_record_does_not_affect_the_others() {
    let bin = Encoding::Protobuf;
    let json = Encoding::Json;
    assert_eq!(read_all(b"", bin), Ok(vec![]));
    assert_eq!(read_all(b"{}", json), Ok(vec![]));

    for (body, encoding) in [
        (&b"\x0a"[..], bin),
        (b"\x0a\x05ab", bin),
        (b"\x0b", bin),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", bin),
        (b"[]", json),
        (b"{", json),
        (br#"{"resourceLogs":1}"#, json),
    ] {
        assert_eq!(
            read_all(body, encoding),
            Err(OtlpError::Malformed),
            "{body:?}"
        );
    }

    // The frame is valid, the record in it is not.
    let both = [
        encode_request(b"\x0a"),
        encode_request(&encode_message(12, b"logout")),
    ]
    .concat();
    let meanings = read_all(&both, bin).unwrap();
    assert_eq!(
        (
            &meanings[0],
            unwrap_event(&meanings[1]).0.action.to_string()
        ),
        (&malformed_record(), "logout".to_owned())
    );

    let meanings = read_all(
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[7,{"eventName":"logout"}]}]}]}"#,
        json,
    )
    .unwrap();
    assert_eq!(
        (
            &meanings[0],
            unwrap_event(&meanings[1]).0.action.to_string()
        ),
        (&malformed_record(), "logout".to_owned())
    );

    let mut count = 0;
    assert_eq!(
        read_request(&both, bin, 1, |_, _| count += 1),
        Err(OtlpError::TooMany)
    );
    assert_eq!(count, 0, "on_record was called");
    assert_eq!(
        read_all(
            &encode_request(&encode_message(12, &vec![b'x'; RECORD_MAX])),
            bin
        ),
        Ok(vec![too_large_record()])
    );
}

#[test]
fn no_text_of_an_attacker_gets_an_event_rejected() {
    for text in [
        "\0",
        "\\u0000",
        "\u{1}\"\\",
        &"é".repeat(9000),
        &"\u{1}".repeat(20_000),
    ] {
        let pair = |key: &str| {
            let value = encode_message(2, &encode_message(1, text.as_bytes()));
            encode_message(6, &[encode_message(1, key.as_bytes()), value].concat())
        };

        let keys = [
            "client.address",
            "user.name",
            "user.id",
            "session.id",
            "user_agent.original",
            "url.path",
            text,
        ];
        let record: Vec<u8> = keys
            .into_iter()
            .flat_map(pair)
            .chain(encode_message(12, text.as_bytes()))
            .collect();

        assert!(
            matches!(
                &read_all(&encode_request(&record), Encoding::Protobuf).unwrap()[0],
                Meaning::Event { .. }
            ),
            "{text:.9}"
        );
    }
}

/// Exporters write `null` for a list that has nothing, and an application may log what a client
/// nested.
#[test]
fn null_lists_and_deep_bodies_cost_no_record() {
    let deep = format!(
        "{}{}{}",
        r#"{"arrayValue":{"values":["#.repeat(300),
        r#"{"stringValue":"x"}"#,
        "]}}".repeat(300)
    );
    let json = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":null}},{{"scopeLogs":[{{"logRecords":null}},
            {{"logRecords":[{{"eventName":"logout","body":{deep}}},{{"eventName":"logout"}}]}}]}}]}}"#
    );
    let meanings = read_all(json.as_bytes(), Encoding::Json).unwrap();
    assert_eq!(meanings.len(), 2);
    for meaning in &meanings {
        unwrap_event(meaning);
    }
    assert!(
        read_all(br#"{"resourceLogs":null}"#, Encoding::Json)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn depth_and_attribute_count_are_bounded() {
    let deep = (0..10_000).fold(encode_message(1, b"x"), |inner, _| {
        encode_message(5, &encode_message(1, &inner))
    });
    assert!(deep.len() < RECORD_MAX);
    let record = [encode_message(12, b"logout"), encode_message(5, &deep)].concat();
    let meanings = read_all(&encode_request(&record), Encoding::Protobuf).unwrap();
    assert!(unwrap_event(&meanings[0]).0.metadata.as_json().len() < 200);

    let many: Vec<u8> = (0..10_000)
        .flat_map(|n| {
            let key = encode_message(1, format!("k{n}").as_bytes());
            encode_message(
                6,
                &[key, encode_message(2, &encode_message(1, b"v"))].concat(),
            )
        })
        .collect();
    let meanings = read_all(
        &encode_request(&[encode_message(12, b"logout"), many].concat()),
        Encoding::Protobuf,
    )
    .unwrap();

    assert!(unwrap_event(&meanings[0]).1.as_object().unwrap().len() <= ATTRIBUTES_MAX);
}

proptest! {
    #[test]
    fn never_panics(
        raw in proptest::collection::vec(any::<u8>(), 0..200),
        text in r#"[\[\]{}",:\\a0]{0,80}"#,
        cut in 0..1000_usize,
        bit in 0..8000_usize,
    ) {
        for (body, encoding) in SDK {
            let _ = read_all(&raw, encoding);
            let _ = read_all(body.get(..cut).unwrap_or(body), encoding);
            let mut flipped = body.to_vec();
            if let Some(byte) = flipped.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            let _ = read_all(&flipped, encoding);
        }

        let _ = read_all(text.as_bytes(), Encoding::Json);
        let _ = read_all(&encode_request(&raw), Encoding::Protobuf);
    }
}
