use model::event::UserId;
use model::{Category, EventId, Outcome, SecurityEvent, Source};
use serde_json::json;
use sqlx::Connection as _;
use store::collected::Position;
use store::events::{Inserted, insert_audit};
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
    assert_eq!(insert_audit(&mut conn, &rows).await.unwrap(), Inserted { accepted: 3, ..Inserted::default() });
    let mut out = Vec::new();
    let n = store::history::stream(&mut conn, model::Timestamp::MIN, model::Timestamp::MAX, |e| {
        out.push(e.clone().into_owned());
    })
    .await;
    assert_eq!(n.unwrap().0, 3);
    for (row, event) in [&rows[1], &rows[2], &rows[0]].into_iter().zip(&out) {
        let mut expected = row.record().clone().into_event(|| row.event_id(), || row.timestamp()).into_owned();
        // jsonb keeps the meaning of a JSON text, not its spelling.
        let json = |d: &model::event::Details<'_>| serde_json::from_str::<serde_json::Value>(d.as_json()).ok();
        assert_eq!(json(&expected.details), json(&event.details));
        expected.details = event.details.clone();
        assert_eq!(&expected, event);
    }
    // The careful way writes the same times, far ones too.
    assert_eq!(insert_audit(&mut conn, &rows).await.unwrap(), Inserted { duplicates: 3, ..Inserted::default() });
}

#[tokio::test]
async fn duplicates_are_counted_and_cost_no_neighbour() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    assert_eq!(insert_audit(&mut conn, &logins(0..10)).await.unwrap().accepted, 10);
    let mixed = logins([8, 9, 10, 11, 11]);
    let done = insert_audit(&mut conn, &mixed).await.unwrap();
    assert_eq!((done.accepted, done.duplicates, done.rejected.len()), (2, 3, 0));
    assert_eq!(count(&mut conn, "audit_events").await, 12);
    assert_eq!(insert_audit(&mut conn, &[]).await.unwrap(), Inserted::default());
}

#[tokio::test]
async fn a_bad_row_is_named_and_its_neighbours_live() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    // A constraint of the operator's own, which our checks cannot know.
    sql(&mut conn, "ALTER TABLE audit_events ADD CONSTRAINT no_mallory CHECK (session_id <> 'mallory')").await;
    let bad = LOGIN.replace(r#""session_id":"s""#, r#""session_id":"mallory""#);
    let surrogate = LOGIN.replace(r#""eve""#, r#""\ud800""#);
    let mut rows = logins(0..100);
    rows[17] = row(&bad, 17);
    rows[99] = row(&bad, 99);
    rows[50] = row(&surrogate, 50);
    rows[20] = row(LOGIN, 21);
    let done = insert_audit(&mut conn, &rows).await.unwrap();
    assert_eq!((done.accepted, done.duplicates), (96, 1));
    let named: Vec<_> = done.rejected.iter().map(|(n, e)| (*n, e.field.as_ref())).collect();
    assert_eq!(named, [(17, "no_mallory"), (50, "metadata"), (99, "no_mallory")]);
    assert_eq!(count(&mut conn, "audit_events").await, 96);
    let mut tx = conn.begin().await.unwrap();
    insert_audit(&mut tx, &[row(&bad, 200), row(LOGIN, 201)]).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(count(&mut conn, "audit_events").await, 96, "the caller's transaction decides");
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
    let place = |n: u64| Position { collector: "syslog:/var/log/auth.log".to_owned(), at: json!({"offset": n}) };
    let done = store::collected::insert(&mut conn, &[event(1), event(2)], Some(&place(7)), None).await.unwrap();
    assert_eq!(done.accepted, 2);
    let done = store::collected::insert(&mut conn, &[event(2), event(3)], Some(&place(9)), None).await.unwrap();
    assert_eq!((done.accepted, done.duplicates), (1, vec![0]));
    let found = store::collected::position(&mut conn, "syslog:/var/log/auth.log").await.unwrap();
    assert_eq!(found, Some(json!({"offset": 9})));
    let mut out = Vec::new();
    store::history::stream(&mut conn, at(0), at(1), |e| out.push(e.clone().into_owned())).await.unwrap();
    out.sort_by_key(number);
    assert_eq!(out, [event(1), event(2), event(3)]);
}
