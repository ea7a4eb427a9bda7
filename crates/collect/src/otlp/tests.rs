use proptest::prelude::*;

use super::*;

/// One request, made by Python's `opentelemetry-proto` and written in both forms.
const SDK: [(&[u8], Encoding); 2] = [
    (include_bytes!("fixtures/sdk.bin"), Encoding::Protobuf),
    (include_bytes!("fixtures/sdk.json"), Encoding::Json),
];

fn all(body: &[u8], encoding: Encoding) -> Result<Vec<Meaning>, OtlpError> {
    let mut told = Vec::new();
    read(body, encoding, 1000, |meaning| told.push(meaning)).map(|()| told)
}

fn event(meaning: &Meaning) -> (&AuditRecord<'static>, Value) {
    match meaning {
        Meaning::Event { record, .. } => (
            record,
            serde_json::from_str(record.metadata.as_json()).unwrap(),
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_forms_of_a_request_mean_the_same() {
    let [binary, json] = SDK.map(|(body, encoding)| all(body, encoding).unwrap());
    assert_eq!(binary.len(), 8);
    for (i, (a, b)) in binary.iter().zip(&json).enumerate() {
        // Protobuf's own JSON has these bytes in base64, and ours are hexadecimal.
        if i != 5 {
            assert_eq!(a, b, "record {i}");
        }
    }
}

#[test]
fn records_mean_what_the_conventions_say() {
    let told = all(SDK[0].0, SDK[0].1).unwrap();
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

    let lines: Vec<String> = told.iter().map(line).collect();
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

    let (failed, metadata) = event(&told[0]);
    assert_eq!(failed.timestamp, Some(Timestamp::from_secs(1_772_712_451)));
    assert_eq!(
        (failed.session_id.as_deref(), failed.user_agent.as_deref()),
        (Some("s1"), Some("curl/8"))
    );
    assert_eq!(metadata["username"], "alice");
    assert_eq!(metadata["body"], "login of alice");

    assert_eq!(metadata["trace_id"], "000102030405060708090a0b0c0d0e0f");
    assert_eq!(metadata["service.instance.id"], "a1");
    let (error, _) = event(&told[3]);
    assert_eq!(
        error.timestamp,
        Some(Timestamp::from_secs(1_772_712_451)),
        "the collector's, where the source gave none"
    );

    let (download, metadata) = event(&told[5]);
    assert!(download.cui_accessed);
    assert_eq!(metadata["bytes"], 123_456_789_012_u64);
    assert_eq!(
        (&metadata["list"], &metadata["map"]["a"]["b"]),
        (&json!([1, "a", 2.5]), &json!(true))
    );
    assert_eq!(metadata["raw"], "01ff");
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn message(field: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    varint(inner.len(), &mut out);
    out.extend_from_slice(inner);
    out
}

/// A request with one record.
fn request(record: &[u8]) -> Vec<u8> {
    message(1, &message(2, &message(2, record)))
}

#[test]
fn what_is_broken_costs_itself_alone() {
    let (bin, json) = (Encoding::Protobuf, Encoding::Json);
    assert_eq!(all(b"", bin), Ok(vec![]));
    assert_eq!(all(b"{}", json), Ok(vec![]));

    for (body, encoding) in [
        (&b"\x0a"[..], bin),
        (b"\x0a\x05ab", bin),
        (b"\x0b", bin),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", bin),
        (b"[]", json),
        (b"{", json),
        (br#"{"resourceLogs":1}"#, json),
    ] {
        assert_eq!(all(body, encoding), Err(OtlpError::Malformed), "{body:?}");
    }

    // The frame is whole, the record in it is not.
    let both = [request(b"\x0a"), request(&message(12, b"logout"))].concat();
    let told = all(&both, bin).unwrap();
    assert_eq!(
        (&told[0], event(&told[1]).0.action.to_string()),
        (&broken(), "logout".to_owned())
    );

    let told = all(
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[7,{"eventName":"logout"}]}]}]}"#,
        json,
    )
    .unwrap();
    assert_eq!(
        (&told[0], event(&told[1]).0.action.to_string()),
        (&broken(), "logout".to_owned())
    );

    let mut count = 0;
    assert_eq!(read(&both, bin, 1, |_| count += 1), Err(OtlpError::TooMany));
    assert_eq!(count, 0, "told of nothing");
    assert_eq!(
        all(&request(&message(12, &vec![b'x'; RECORD_MAX])), bin),
        Ok(vec![too_large()])
    );
}

#[test]
fn what_an_attacker_writes_refuses_no_event() {
    for text in [
        "\0",
        "\\u0000",
        "\u{1}\"\\",
        &"é".repeat(9000),
        &"\u{1}".repeat(20_000),
    ] {
        let pair = |key: &str| {
            let value = message(2, &message(1, text.as_bytes()));
            message(6, &[message(1, key.as_bytes()), value].concat())
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
            .chain(message(12, text.as_bytes()))
            .collect();

        assert!(
            matches!(
                &all(&request(&record), Encoding::Protobuf).unwrap()[0],
                Meaning::Event { .. }
            ),
            "{text:.9}"
        );
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let deep = (0..10_000).fold(message(1, b"x"), |inner, _| message(5, &message(1, &inner)));
    assert!(deep.len() < RECORD_MAX);
    let record = [message(12, b"logout"), message(5, &deep)].concat();
    let told = all(&request(&record), Encoding::Protobuf).unwrap();
    assert!(event(&told[0]).0.metadata.as_json().len() < 200);

    let many: Vec<u8> = (0..10_000)
        .flat_map(|n| {
            let key = message(1, format!("k{n}").as_bytes());
            message(6, &[key, message(2, &message(1, b"v"))].concat())
        })
        .collect();
    let told = all(
        &request(&[message(12, b"logout"), many].concat()),
        Encoding::Protobuf,
    )
    .unwrap();

    assert!(event(&told[0]).1.as_object().unwrap().len() <= ATTRIBUTES_MAX);
}

proptest! {
    #[test]
    fn never_panics(raw in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[\[\]{}",:\\a0]{0,80}"#, cut in 0..1000_usize, bit in 0..8000_usize) {
        for (body, encoding) in SDK {
            let _ = all(&raw, encoding);
            let _ = all(body.get(..cut).unwrap_or(body), encoding);
            let mut flipped = body.to_vec();
            if let Some(byte) = flipped.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            let _ = all(&flipped, encoding);
        }

        let _ = all(text.as_bytes(), Encoding::Json);
        let _ = all(&request(&raw), Encoding::Protobuf);
    }
}
