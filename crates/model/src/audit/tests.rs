//! What an event must look like, and what is said of others.

use proptest::prelude::*;

use super::*;

fn parse(json: &str) -> Result<AuditRecord<'_>, FieldError> {
    AuditRecord::from_json(json.as_bytes(), Strangers::Refuse)
}

#[test]
fn reads_a_full_event_without_copying() {
    let json = r#"{"event_id":"019a0000-0000-7000-8000-000000000001","timestamp":"2026-03-05T14:07:31Z","category":"data",
        "action":"export_data","result":"success","user_id":"019a0000-0000-7000-8000-000000000002","session_id":"s1",
        "ip_address":"::ffff:203.0.113.9","user_agent":"curl/8","resource_type":"api","resource_id":"/x",
        "instance_id":null,"cui_accessed":true,"metadata":{"bytes":12}}"#;
    let record = parse(json).unwrap();
    assert_eq!(record.ip_address, Some("203.0.113.9".parse().unwrap()));
    assert!(matches!(record.action, Text(Cow::Borrowed("export_data"))));

    let event = record.into_event(|| unreachable!(), || unreachable!());
    assert_eq!(event.details.number("bytes"), Some(12));
    assert!(event.cui_involved);
}

/// An application copies what a client sent into the metadata; the client nests it.
#[test]
fn a_value_that_is_nested_too_deep_costs_only_itself() {
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let json = format!(
        r#"{{"category":"auth","action":"login_failed","result":"failure","ip_address":"203.0.113.9",
            "metadata":{{"username":"root","sent":{deep},"service":"web"}}}}"#
    );
    let record = parse(&json).unwrap();
    assert_eq!(record.ip_address, Some("203.0.113.9".parse().unwrap()));

    let metadata: serde_json::Value = serde_json::from_str(record.metadata.as_json()).unwrap();
    assert_eq!(metadata["username"], "root");
    assert_eq!(metadata["service"], "web");
    assert_eq!(metadata["cut"], serde_json::json!(["metadata"]));
}

#[test]
fn every_error_names_its_field() {
    let base = |extra: &str| {
        format!(r#"{{"category":"auth","action":"login","result":"success"{extra}}}"#)
    };
    let deep = format!("{}1{}", r#"{"a":"#.repeat(70), "}".repeat(70));
    for (json, field, error) in [
        (
            r#"{"action":"login","result":"success"}"#.to_owned(),
            "category",
            "is missing",
        ),
        (
            r#"{"category":"network","action":"a","result":"success"}"#.to_owned(),
            "category",
            "is not one of",
        ),
        (
            r#"{"category":"auth","action":"","result":"success"}"#.to_owned(),
            "action",
            "is empty",
        ),
        (
            r#"{"category":"auth","action":"a","result":"ok"}"#.to_owned(),
            "result",
            "is not one of",
        ),
        (base(r#","user_id":"bob""#), "user_id", "is not a UUID"),
        (base(r#","user_id":7"#), "user_id", "is not a string"),
        (
            base(r#","timestamp":"2026-03-05T14:07:31""#),
            "timestamp",
            "no time zone",
        ),
        (
            base(r#","cui_accessed":"yes""#),
            "cui_accessed",
            "is not true or false",
        ),
        (
            base(r#","created_at":"2026-03-05T14:07:31Z""#),
            "created_at",
            "set by the server",
        ),
        (base(r#","usr_id":null"#), "usr_id", "is not a column"),
        (base(r#","metadata":[1]"#), "metadata", "not a JSON object"),
        (
            base(&format!(r#","session_id":{deep}"#)),
            "session_id",
            "is not a string",
        ),
        (base(r#","action":"twice""#), "action", "appears twice"),
        ("[]".to_owned(), "event", "not a JSON object"),
        (r#"{"category":"#.to_owned(), "event", "not valid JSON"),
    ] {
        let found = parse(&json).expect_err(&json);
        assert_eq!(found.field, field, "{json}: {found}");
        assert!(found.error.contains(error), "{json}: {found}");
    }
}

#[test]
fn a_long_user_agent_is_cut_not_refused() {
    let json = format!(
        r#"{{"category":"auth","action":"login","result":"success","user_agent":"{}"}}"#,
        "é".repeat(700)
    );
    assert_eq!(
        parse(&json).unwrap().user_agent.unwrap().chars().count(),
        500
    );
}

/// Whoever is watched chooses these texts, and must not have the event refused by them.
#[test]
fn what_cannot_be_kept_is_cleaned_or_cut_and_said() {
    let long = "é".repeat(40_000);
    let metadata = |record: &AuditRecord<'_>| -> serde_json::Value {
        serde_json::from_str(record.metadata.as_json()).unwrap()
    };
    for (extra, field, expected) in [
        (
            r#","metadata":{"username":"root\u0000"}"#.to_owned(),
            "cleaned",
            "true",
        ),
        (
            r#","metadata":{"username":"\ud800"}"#.to_owned(),
            "cleaned",
            "true",
        ),
        (
            r#","metadata":{"a":"\u41zz"}"#.to_owned(),
            "cleaned",
            "true",
        ),
        (r#","metadata":{"a":1e999}"#.to_owned(), "cleaned", "true"),
        (r#","session_id":"a\u0000b""#.to_owned(), "cleaned", "true"),
        (
            format!(r#","session_id":"{long}""#),
            "cut",
            r#"["session_id"]"#,
        ),
        (
            format!(r#","resource_id":"{long}","resource_type":"{long}""#),
            "cut",
            r#"["resource_type","resource_id"]"#,
        ),
        (
            format!(r#","user_agent":"{long}""#),
            "cut",
            r#"["user_agent"]"#,
        ),
        (
            format!(r#","metadata":{{"a":"{long}","username":"root"}}"#),
            "cut",
            r#"["metadata"]"#,
        ),
        (
            r#","ip_address":"203.0.113.9:443""#.to_owned(),
            "ip_address_sent",
            r#""203.0.113.9:443""#,
        ),
        (
            r#","ip_address":"unknown""#.to_owned(),
            "cut",
            r#"["ip_address"]"#,
        ),
    ] {
        let json = format!(r#"{{"category":"auth","action":"login","result":"success"{extra}}}"#);
        let record = parse(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
        assert_eq!(metadata(&record)[field].to_string(), expected, "{extra}");
        assert!(!record.metadata.as_json().contains("\\u0000"));
        assert!(record.metadata.as_json().len() <= limits::METADATA + limits::MARKS);
    }

    let sessions: Vec<_> = ["a", "b"]
        .map(|end| format!(r#"{{"category":"auth","action":"login","result":"success","session_id":"{long}{end}"}}"#))
        .iter()
        .map(|json| parse(json).unwrap().session_id.unwrap().into_owned())
        .collect();
    assert!(sessions[0].len() <= limits::SESSION_ID);
    assert_ne!(sessions[0], sessions[1], "two sessions stay two");

    let bytes =
        b"{\"category\":\"auth\",\"action\":\"login\",\"result\":\"success\",\"metadata\":{\"username\":\"a\xff\0\"}}";
    let record = AuditRecord::from_json(bytes, Strangers::Refuse).unwrap();
    assert_eq!(
        record.metadata.text("username").as_deref(),
        Some("a\u{fffd}\u{fffd}")
    );
}

#[test]
fn an_export_of_the_table_can_be_replayed() {
    let json = br#"{"category":"auth","action":"login","result":"success","created_at":"x","seq":1,"xact_id":"5"}"#;
    assert!(AuditRecord::from_json(json, Strangers::Ignore).is_ok());
}

proptest! {
    #[test]
    fn never_panics(json in "\\PC{0,200}") {
        let _ = parse(&json);
    }

    /// Whatever is in the texts that the watched person may choose: the event is taken, and is the
    /// server's own.
    #[test]
    fn no_text_keeps_its_event_out(
        texts in proptest::array::uniform5(
            r"(\\u0000|\\ud800|\\u41zz|\\x|\x00|\x1f|\PC{0,9}|,|9\.9\.9\.9, |\[::1\]:1|[a-z]{900}){0,4}",
        ),
        raw in proptest::collection::vec(0x80_u8..=255, 0..3),
    ) {
        // As a careless program writes them: without a quotation mark, and with whole escapes at
        // the end.
        let [session, agent, resource, name, address] = texts.map(|text| text.replace('"', "'") + " ");
        let mut json = format!(
            r#"{{"category":"auth","action":"login_failed","result":"failure","session_id":"{session}","user_agent":"{agent}",
               "resource_id":"{resource}","ip_address":"{address},203.0.113.9","metadata":{{"username":"{name}"#
        ).into_bytes();
        json.extend(raw);
        json.extend_from_slice(br#""}}"#);

        let record = AuditRecord::from_json(&json, Strangers::Refuse);
        prop_assert!(record.is_ok(), "{:?} of {}", record, String::from_utf8_lossy(&json));
        let record = record.unwrap();
        prop_assert_eq!(record.ip_address, Some("203.0.113.9".parse().unwrap()));
        let stored: serde_json::Value = serde_json::from_str(record.metadata.as_json()).unwrap();
        prop_assert!(stored["username"].as_str().is_some_and(|name| !name.contains('\0')));
    }

    #[test]
    fn never_panics_on_bytes(json in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = AuditRecord::from_json(&json, Strangers::Refuse);
    }
}
