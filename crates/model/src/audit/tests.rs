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

#[test]
fn every_error_names_its_field() {
    let base = |extra: &str| format!(r#"{{"category":"auth","action":"login","result":"success"{extra}}}"#);
    let long = "x".repeat(2000);
    let deep = format!("{}1{}", r#"{"a":"#.repeat(70), "}".repeat(70));
    for (json, field, error) in [
        (r#"{"action":"login","result":"success"}"#.to_owned(), "category", "is missing"),
        (r#"{"category":"network","action":"a","result":"success"}"#.to_owned(), "category", "is not one of"),
        (r#"{"category":"auth","action":"","result":"success"}"#.to_owned(), "action", "is empty"),
        (r#"{"category":"auth","action":"a","result":"ok"}"#.to_owned(), "result", "is not one of"),
        (base(r#","user_id":"bob""#), "user_id", "is not a UUID"),
        (base(r#","user_id":7"#), "user_id", "is not a string"),
        (base(r#","ip_address":"10.0.0.0/8""#), "ip_address", "network"),
        (base(r#","timestamp":"2026-03-05T14:07:31""#), "timestamp", "no time zone"),
        (base(r#","cui_accessed":"yes""#), "cui_accessed", "is not true or false"),
        (base(r#","created_at":"2026-03-05T14:07:31Z""#), "created_at", "set by the server"),
        (base(r#","usr_id":null"#), "usr_id", "is not a column"),
        (base(r#","metadata":[1]"#), "metadata", "not a JSON object"),
        (base(r#","metadata":{"a":"\u0000"}"#), "metadata", "NUL"),
        (base(&format!(r#","metadata":{deep}"#)), "event", "nested"),
        (base(&format!(r#","session_id":"{long}""#)), "session_id", "2000 bytes long"),
        (base(r#","resource_id":"a\u0000b""#), "resource_id", "NUL"),
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
    let json =
        format!(r#"{{"category":"auth","action":"login","result":"success","user_agent":"{}"}}"#, "é".repeat(700));
    assert_eq!(parse(&json).unwrap().user_agent.unwrap().chars().count(), 500);
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

    #[test]
    fn never_panics_on_bytes(json in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = AuditRecord::from_json(&json, Strangers::Refuse);
    }
}
