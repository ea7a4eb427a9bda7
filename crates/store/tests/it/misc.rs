use model::{ControlId, Lookback, RuleId, Severity, Source, Span};
use serde_json::json;
use store::baselines::Baseline;
use store::keys::NewKey;
use store::rules::Rule;
use testkit::TestDb;

use crate::{at, count, person, sql};

#[tokio::test]
async fn keys_open_while_they_are_in_force() {
    let db = TestDb::new().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let mut ingest = db.connect_as("blueteam_ingest").await;
    let user_id = store::users::ensure_service(&mut admin, &person("alice"), "ingest")
        .await
        .unwrap();
    assert_eq!(
        store::users::ensure_service(&mut admin, &person("alice"), "ingest")
            .await
            .unwrap(),
        user_id
    );

    let scopes = ["events:write".to_owned()];
    let key = |hash, expires_at| NewKey {
        user_id,
        name: "web",
        hash,
        prefix: "bt_abc",
        scopes: &scopes,
        service: None,
        expires_at,
    };

    let id = store::keys::create(&mut admin, &person("alice"), &key("aa", None))
        .await
        .unwrap();
    store::keys::create(
        &mut admin,
        &person("alice"),
        &key("bb", Some(at(-99_999_999))),
    )
    .await
    .unwrap();

    let info = store::keys::authenticate(&mut ingest, "aa")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (info.key_id, info.user_id, info.scopes),
        (id, user_id, scopes.to_vec())
    );

    assert_eq!(
        store::keys::authenticate(&mut ingest, "bb").await.unwrap(),
        None,
        "over"
    );
    assert_eq!(
        store::keys::authenticate(&mut ingest, "cc").await.unwrap(),
        None,
        "unknown"
    );

    store::keys::used(&mut ingest, id, 5).await.unwrap();
    assert!(
        store::keys::list(&mut admin)
            .await
            .unwrap()
            .iter()
            .any(|k| k.last_used.is_some())
    );

    assert!(
        store::keys::revoke(&mut admin, &person("alice"), id)
            .await
            .unwrap()
    );
    assert!(
        !store::keys::revoke(&mut admin, &person("alice"), id)
            .await
            .unwrap()
    );
    assert_eq!(
        store::keys::authenticate(&mut ingest, "aa").await.unwrap(),
        None,
        "revoked"
    );

    assert_eq!(
        count(
            &mut admin,
            "audit.audit_log WHERE resource_type = 'API_KEY' AND actor = 'alice'"
        )
        .await,
        3
    );

    assert_eq!(
        count(
            &mut admin,
            "audit.audit_log WHERE new_value ->> 'key_hash' = 'aa'"
        )
        .await,
        0
    );

    let mut engine = db.connect_as("blueteam_engine").await;
    assert_eq!(
        store::users::facts(&mut engine, &[user_id]).await.unwrap()[0].role,
        "user"
    );
}

#[tokio::test]
async fn rules_are_kept_in_line_and_an_operators_word_stays() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let rule = |name: &str| Rule {
        rule_id: RuleId::builtin("brute_force"),
        name: name.to_owned(),
        description: "d".to_owned(),
        severity: Severity::High,
        nist_controls: vec![ControlId::known("3.1.8")],
    };

    assert_eq!(
        store::rules::sync(&mut conn, &person("start"), &[rule("a")])
            .await
            .unwrap(),
        1
    );

    assert_eq!(
        store::rules::sync(&mut conn, &person("start"), &[rule("a")])
            .await
            .unwrap(),
        0
    );
    sql(
        &mut db.connect_as("blueteam_admin").await,
        r#"UPDATE blueteam.alert_rules SET enabled = false, config = '{"n":1}'"#,
    )
    .await;

    assert_eq!(
        store::rules::sync(&mut conn, &person("start"), &[rule("b")])
            .await
            .unwrap(),
        1
    );

    let found = &store::rules::settings(&mut conn).await.unwrap()[0];
    assert_eq!(
        (found.name.as_str(), found.enabled, &found.config),
        ("b", false, &json!({"n": 1}))
    );
}

#[tokio::test]
async fn baselines_survive() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let one = |n: u8| Baseline {
        source: Source::AuditDb,
        user_key: "u".to_owned(),
        profile: json!({"n": n}),
    };

    store::baselines::save(&mut conn, &[one(1), one(2)])
        .await
        .unwrap();
    assert_eq!(store::baselines::load(&mut conn).await.unwrap(), [one(2)]);
    assert!(
        store::stored_events::estimate(&mut conn, at(0), at(0).plus(Span::hours(1)))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn ids_are_ordered_in_time_and_valid() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT blueteam.uuid_v7() FROM generate_series(1, 1000)")
            .fetch_all(&mut conn)
            .await
            .unwrap();

    for id in &ids {
        assert_eq!(
            (id.get_version_num(), id.get_variant()),
            (7, uuid::Variant::RFC4122)
        );
    }

    let millis: Vec<u64> = ids
        .iter()
        .map(|id| id.get_timestamp().unwrap().to_unix().0)
        .collect();
    assert!(millis.is_sorted());
}

#[tokio::test]
async fn windows_are_rebuilt_before_a_backlog_however_long_it_is() {
    use store::reader::{Snapshot, Start, initialize, poll, save};
    let db = TestDb::new().await;
    let (mut conn, mut writer) = (
        db.connect_as("blueteam_engine").await,
        db.connect_as("blueteam_ingest").await,
    );
    let cursor = initialize(&mut conn, "monitor", Start::Beginning)
        .await
        .unwrap();

    store::events::insert_audit(&mut writer, &crate::logins([1, 2]))
        .await
        .unwrap();
    let read = poll(&mut conn, &cursor, |_| {}).await.unwrap().cursor;
    let read = save(&mut conn, read).await.unwrap();
    let learned: Snapshot = read.snapshot.clone();

    // Two hours later, unread.
    store::events::insert_audit(&mut writer, &crate::logins([7200, 7201]))
        .await
        .unwrap();
    let mut seen = Vec::new();
    let memory = Lookback {
        all: Span::mins(5),
        logins: Span::mins(5),
    };

    store::stored_events::rebuild(
        &mut conn,
        &store::stored_events::Past {
            memory,
            now: at(8000),
            cursor: &read,
            learned: Some(&learned),
            tenant: None,
        },
        |event, known| {
            seen.push((crate::number(event), known));
        },
    )
    .await
    .unwrap();

    assert_eq!(seen, [(1, true), (2, true)]);
}

/// One event from the present amid a backlog: what the backlog continues is still seen again.
#[tokio::test]
async fn windows_are_rebuilt_by_arrival_too() {
    use store::reader::{Start, initialize, poll, save};
    let db = TestDb::new().await;
    let (mut conn, mut writer) = (
        db.connect_as("blueteam_engine").await,
        db.connect_as("blueteam_ingest").await,
    );
    let cursor = initialize(&mut conn, "monitor", Start::Beginning)
        .await
        .unwrap();

    store::events::insert_audit(&mut writer, &crate::logins([1, 2]))
        .await
        .unwrap();
    store::events::insert_audit(&mut writer, &crate::logins([7200]))
        .await
        .unwrap();
    store::events::insert_audit(&mut writer, &crate::logins([3]))
        .await
        .unwrap();

    let read = poll(&mut conn, &cursor, |_| {}).await.unwrap().cursor;
    let read = save(&mut conn, read).await.unwrap();
    store::events::insert_audit(&mut writer, &crate::logins([4]))
        .await
        .unwrap();

    let mut seen = Vec::new();
    let learned = read.snapshot.clone();
    store::stored_events::rebuild(
        &mut conn,
        &store::stored_events::Past {
            memory: Lookback {
                all: Span::mins(5),
                logins: Span::mins(5),
            },
            now: at(8000),
            cursor: &read,
            learned: Some(&learned),
            tenant: None,
        },
        |event, known| {
            seen.push((crate::number(event), known));
        },
    )
    .await
    .unwrap();

    assert_eq!(seen, [(1, true), (2, true), (3, true), (7200, true)]);
}

/// A day of logins is few events, a day of everything is a long start. By arrival nothing is asked
/// for here: it all came just now.
#[tokio::test]
async fn logins_are_seen_again_from_further_back() {
    use store::reader::{Start, initialize, poll, save};
    let db = TestDb::new().await;
    let (mut conn, mut writer) = (db.connect_as("blueteam_engine").await, db.connect().await);
    let cursor = initialize(&mut conn, "monitor", Start::Beginning)
        .await
        .unwrap();

    for (id, secs, category) in [
        (1, 0, "auth"),
        (2, 1000, "auth"),
        (3, 2000, "data"),
        (4, 7200, "data"),
    ] {
        let sql = format!(
            "INSERT INTO audit_events (event_id, timestamp, category, action, result)
             VALUES ('00000000-0000-0000-0000-{id:012}', 'epoch'::timestamptz + {secs} * interval \
             '1 s', '{category}', 'a', 'success')"
        );
        crate::sql(&mut writer, &sql).await;
    }

    let read = poll(&mut conn, &cursor, |_| {}).await.unwrap().cursor;
    let read = save(&mut conn, read).await.unwrap();
    let learned = read.snapshot.clone();
    let memory = Lookback {
        all: Span::ZERO,
        logins: Span::secs(6500),
    };

    let mut seen = Vec::new();
    store::stored_events::rebuild(
        &mut conn,
        &store::stored_events::Past {
            memory,
            now: at(8000),
            cursor: &read,
            learned: Some(&learned),
            tenant: None,
        },
        |event, _| seen.push(event.timestamp),
    )
    .await
    .unwrap();

    seen.sort();
    // All four arrived within the memory of logins, and so the first one too; of the rest only the
    // newest lies within nothing.
    let expected: Vec<_> = [0, 1000, 7200]
        .into_iter()
        .map(model::Timestamp::from_secs)
        .collect();
    assert_eq!(seen, expected);
}

/// A few kilobytes of `1e130000` are a gigabyte of text: whoever may write events must not be able
/// to stop their reading.
#[tokio::test]
async fn metadata_that_explodes_when_read_stops_nobody() {
    use store::reader::{Start, initialize, poll};
    let db = TestDb::new().await;
    let (mut conn, mut owner) = (db.connect_as("blueteam_engine").await, db.connect().await);
    let cursor = initialize(&mut conn, "monitor", Start::Beginning)
        .await
        .unwrap();

    for value in ["1e130000", "1e-16000", "17"] {
        let sql = format!(
            "INSERT INTO audit_events (category, action, result, metadata) VALUES ('auth', 'x', \
                'success',
                 jsonb_build_object('deep', jsonb_build_array((SELECT jsonb_agg({value}::numeric) \
                 FROM generate_series(1, 9000)))))"
        );
        crate::sql(&mut owner, &sql).await;
    }

    let mut sizes = Vec::new();
    poll(&mut conn, &cursor, |event| {
        sizes.push(event.details.as_json().len());
    })
    .await
    .unwrap();
    assert!(
        sizes[0] < 10 && sizes[1] < 10 && sizes[2] > 9000,
        "{sizes:?}"
    );
}
