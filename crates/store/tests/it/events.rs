use model::event::{Details, UserId};
use model::{AuditRecord, Category, EventId, Outcome, SecurityEvent, Source};
use serde_json::json;
use sqlx::Connection as _;
use store::events::{AuditRow, Claim, Inserted, insert_audit, insert_audit_parts};
use store::log_events::{Account, Position};
use testkit::TestDb;

use crate::{LOGIN, at, count, id, logins, number, row, sql};

#[tokio::test]
async fn what_goes_in_comes_out() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let full = r#"{"timestamp":"9999-12-31T23:59:59.999999Z","category":"data","action":"export_data","result":"denied",
        "user_id":"019a0000-0000-7000-8000-000000000002","session_id":"é","ip_address":"2001:db8::1","user_agent":"x","resource_type":"",
        "resource_id":"/x","instance_id":"019a0000-0000-7000-8000-000000000003","cui_accessed":true,"metadata":{"bytes":12,"a":"\"\\"}}"#;
    let bare = r#"{"category":"ai","action":"a","result":"success"}"#;
    let rows = [row(full, 1), row(bare, 2), row(LOGIN, 3)];
    assert_eq!(
        insert_audit(&mut conn, &rows).await.unwrap(),
        Inserted {
            accepted: 3,
            ..Inserted::default()
        }
    );

    let mut out = Vec::new();
    let n = store::stored_events::stream(
        &mut conn,
        model::Timestamp::MIN,
        model::Timestamp::MAX,
        |e| {
            out.push(e.clone().into_owned());
        },
    )
    .await;

    assert_eq!(n.unwrap().0, 3);
    for (row, event) in [&rows[1], &rows[2], &rows[0]].into_iter().zip(&out) {
        let mut expected = row
            .record()
            .clone()
            .into_event(|| row.event_id(), || row.timestamp())
            .into_owned();

        // jsonb keeps the meaning of a JSON text, not its spelling.
        let json = |d: &Details<'_>| serde_json::from_str::<serde_json::Value>(d.as_json()).ok();
        assert_eq!(json(&expected.details), json(&event.details));
        expected.details = event.details.clone();
        assert_eq!(&expected, event);
    }

    // The careful way writes the same times, far ones too.
    assert_eq!(
        insert_audit(&mut conn, &rows).await.unwrap(),
        Inserted {
            duplicates: 3,
            ..Inserted::default()
        }
    );
}

#[tokio::test]
async fn duplicates_are_counted_and_cost_no_neighbor() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    assert_eq!(
        insert_audit(&mut conn, &logins(0..10))
            .await
            .unwrap()
            .accepted,
        10
    );

    let mixed = logins([8, 9, 10, 11, 11]);
    let done = insert_audit(&mut conn, &mixed).await.unwrap();
    assert_eq!(
        (done.accepted, done.duplicates, done.rejected.len()),
        (2, 3, 0)
    );
    assert_eq!(count(&mut conn, "audit_events").await, 12);
    assert_eq!(
        insert_audit(&mut conn, &[]).await.unwrap(),
        Inserted::default()
    );
}

#[tokio::test]
async fn a_bad_row_is_named_and_its_neighbors_live() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;

    // A constraint of the operator's own, which our checks cannot know.
    sql(
        &mut conn,
        "ALTER TABLE audit_events ADD CONSTRAINT no_mallory CHECK (session_id <> 'mallory')",
    )
    .await;

    let bad = LOGIN.replace(r#""session_id":"s""#, r#""session_id":"mallory""#);
    // As the door no longer lets it in.
    let mut surrogate = row(LOGIN, 50);
    surrogate = AuditRow::new(
        AuditRecord {
            metadata: Details::from_json(r#"{"a":"\ud800"}"#),
            ..surrogate.record().clone()
        },
        || surrogate.event_id(),
        surrogate.timestamp(),
    );

    let mut rows = logins(0..100);
    rows[17] = row(&bad, 17);
    rows[99] = row(&bad, 99);
    rows[50] = surrogate;
    rows[20] = row(LOGIN, 21);

    let done = insert_audit(&mut conn, &rows).await.unwrap();
    assert_eq!((done.accepted, done.duplicates), (96, 1));
    let named: Vec<_> = done
        .rejected
        .iter()
        .map(|(n, e)| (*n, e.field.as_ref()))
        .collect();
    assert_eq!(
        named,
        [(17, "no_mallory"), (50, "metadata"), (99, "no_mallory")]
    );

    assert_eq!(count(&mut conn, "audit_events").await, 96);
    let mut tx = conn.begin().await.unwrap();
    insert_audit(&mut tx, &[row(&bad, 200), row(LOGIN, 201)])
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(
        count(&mut conn, "audit_events").await,
        96,
        "the caller's transaction decides"
    );
}

/// A sender whose clock is ahead, or who gives an id and no time, gets the time of arrival, which
/// differs at each retry.
#[tokio::test]
async fn a_retry_is_known_by_what_its_sender_claims() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_ingest").await;
    let arriving = |n: u128, secs: i64, claim| {
        let record = row(LOGIN, n);
        let record = AuditRecord {
            timestamp: None,
            ..record.record().clone()
        };
        AuditRow::new(record, || EventId(id(n)), at(secs)).claiming(Some(claim))
    };

    let ahead = Claim::At(at(5_000));
    for (claim, other) in [(ahead, Claim::At(at(5_001))), (Claim::NoTime, ahead)] {
        let n = if claim == ahead { 1 } else { 2 };
        let first = insert_audit_parts(
            &mut conn,
            &[arriving(n, 0, claim), arriving(n, 1, claim)],
            &[1, 2],
        )
        .await
        .unwrap();
        assert_eq!(
            first
                .iter()
                .map(|done| (done.accepted, done.duplicates))
                .collect::<Vec<_>>(),
            [(1, 0), (0, 1)]
        );

        let again = insert_audit_parts(&mut conn, &[arriving(n, 3_600, claim)], &[1])
            .await
            .unwrap();
        assert_eq!((again[0].accepted, again[0].duplicates), (0, 1));
        let by_itself = insert_audit(&mut conn, &[arriving(n, 7_200, claim)])
            .await
            .unwrap();
        assert_eq!((by_itself.accepted, by_itself.duplicates), (0, 1));

        // Another pair is another event.
        assert_eq!(
            insert_audit(&mut conn, &[arriving(n + 10, 9, other)])
                .await
                .unwrap()
                .accepted,
            1
        );
    }

    // Two at the same moment: the second is not written while it is open whether the first is.
    let mut other = db.connect_as("blueteam_ingest").await;
    let mut tx = conn.begin().await.unwrap();
    assert_eq!(
        insert_audit(&mut tx, &[arriving(3, 0, ahead)])
            .await
            .unwrap()
            .accepted,
        1
    );

    let second = insert_audit(&mut other, &[arriving_again(3, ahead)])
        .await
        .unwrap();
    assert_eq!(
        (second.accepted, second.duplicates, second.conflicting),
        (0, 0, vec![0])
    );
    tx.commit().await.unwrap();

    let second = insert_audit(&mut other, &[arriving_again(3, ahead)])
        .await
        .unwrap();
    assert_eq!((second.accepted, second.duplicates), (0, 1));
    assert_eq!(count(&mut db.connect().await, "audit_events").await, 5);
}

fn arriving_again(n: u128, claim: Claim) -> AuditRow<'static> {
    let record = row(LOGIN, n);
    let record = AuditRecord {
        timestamp: None,
        ..record.record().clone().into_owned()
    };
    AuditRow::new(record, || EventId(id(n)), at(60)).claiming(Some(claim))
}

/// No text of an application or of a client is too long for an index of ours: its row would be
/// refused by it.
#[tokio::test]
async fn no_index_limits_what_an_event_may_say() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let unbounded: Vec<(String, String)> = sqlx::query_as(
        "SELECT i.indexrelid::regclass::text, a.attname::text FROM pg_index i
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
          WHERE i.indrelid IN ('public.audit_events'::regclass, \
          'blueteam.log_events'::regclass)
            AND a.atttypid IN ('text'::regtype, 'jsonb'::regtype, 'varchar'::regtype) AND \
            a.attname <> 'category'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();

    assert_eq!(unbounded, []);

    // What compression cannot make short.
    let noise: Vec<String> = (0..40_000_u64)
        .map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let noise = noise.concat();
    for (table, columns, values) in [
        (
            "public.audit_events",
            "session_id, resource_id, resource_type, action",
            "$1, $1, $1, $1",
        ),
        (
            "blueteam.log_events",
            "user_name, account, session_id, user_agent, resource_id, resource_type, action, \
                timestamp, source",
            "$1, $1, $1, $1, $1, $1, $1, now(), 'nginx'",
        ),
    ] {
        let insert = format!(
            "INSERT INTO {table} (category, result, {columns}) VALUES ('auth', 'failure', {values})"
        );
        sqlx::query(sqlx::AssertSqlSafe(insert))
            .bind(&noise)
            .execute(&mut conn)
            .await
            .unwrap();
    }
}

/// There should be none; where there is one, it can be seen, with what it said.
#[tokio::test]
async fn a_row_that_the_database_refuses_leaves_a_trace() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    store::sources::declare(&mut conn, "nginx:/a", Source::Nginx, None)
        .await
        .unwrap();

    let event = |n: u128, user: &'static str| {
        let action = "http_request".into();
        let mut e = SecurityEvent::new(
            EventId(id(n)),
            at(0),
            Source::Nginx,
            Category::Network,
            action,
            Outcome::Success,
        );
        e.user_id = Some(UserId::Name(user.into()));

        e.classify()
    };

    let account = Account {
        source_id: "nginx:/a",
        kind: Source::Nginx,
        now: at(60),
        ignored: 0,
        late: 0,
        newest: Some(at(0)),
        skew: None,
        letters: Vec::new(),
        unkept: 0,
        gaps: Vec::new(),
        rhythm: None,
        senders: Vec::new(),
    };

    let events = [event(1, "ann"), event(2, "a\0b"), event(3, "bob")];
    let done = store::log_events::insert(&mut conn, &events, None, Some(&account))
        .await
        .unwrap();
    assert_eq!((done.accepted, done.rejected.len()), (2, 1));

    let refused = store::sources::refused_rows(&mut conn, at(60))
        .await
        .unwrap();
    assert_eq!(
        refused
            .iter()
            .map(|r| (&*r.source_id, r.events, r.last))
            .collect::<Vec<_>>(),
        [("nginx:/a", 1, at(60))]
    );

    assert_eq!(
        store::sources::refused_rows(&mut conn, at(60 + 8 * 86_400))
            .await
            .unwrap(),
        []
    );

    let entry: String =
        sqlx::query_scalar("SELECT convert_from(entry, 'UTF8') FROM blueteam.dead_letters")
            .fetch_one(&mut db.connect().await)
            .await
            .unwrap();
    assert!(
        entry.contains("a\\u0000b") && entry.contains("http_request"),
        "{entry}"
    );
}

#[tokio::test]
async fn collected_events_and_their_position_are_one() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let event = |n: u128| {
        let mut e = SecurityEvent::new(
            EventId(id(n)),
            at(0),
            Source::Syslog,
            Category::Network,
            "login_failed".into(),
            Outcome::Failure,
        );
        e.user_id = Some(UserId::Name("root".into()));

        e.account_name = Some("root".into());
        e.ip_address = Some("198.51.100.7".parse().unwrap());
        e.occurrences = 3;

        e.classify()
    };

    let place = |n: u64| Position {
        collector: "syslog:/var/log/auth.log".to_owned(),
        at: json!({"offset": n}),
    };

    let done = store::log_events::insert(&mut conn, &[event(1), event(2)], Some(&place(7)), None)
        .await
        .unwrap();
    assert_eq!(done.accepted, 2);
    let done = store::log_events::insert(&mut conn, &[event(2), event(3)], Some(&place(9)), None)
        .await
        .unwrap();
    assert_eq!((done.accepted, done.duplicates), (1, vec![0]));

    let found = store::log_events::position(&mut conn, "syslog:/var/log/auth.log")
        .await
        .unwrap();
    assert_eq!(found, Some(json!({"offset": 9})));
    let mut out = Vec::new();
    store::stored_events::stream(&mut conn, at(0), at(1), |e| {
        out.push(e.clone().into_owned());
    })
    .await
    .unwrap();

    out.sort_by_key(number);
    assert_eq!(out, [event(1), event(2), event(3)]);
}
