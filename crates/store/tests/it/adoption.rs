use store::alerts::AlertFilter;
use testkit::TestDb;

use crate::{LOGIN, count, row, sql, try_sql};

const MIGRATION_030: &str = include_str!("data/030_audit_events.sql");

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_database_of_migration_030_is_adopted_with_all_it_holds() {
    let db = TestDb::empty().await;
    let mut conn = db.connect().await;
    sql(&mut conn, MIGRATION_030).await;
    sql(
        &mut conn,
        "INSERT INTO audit_events (category, action, result, cui_accessed)
                    SELECT 'auth', 'login', 'success', NULL FROM generate_series(1, 500);
                    INSERT INTO blueteam.alert_rules (rule_id, name, severity) VALUES ('old', \
                    'Old', 'low');
                    INSERT INTO blueteam.alert_history (rule_id, severity, title) VALUES ('old', \
                    'low', 'An old alert');
                    INSERT INTO blueteam.security_incidents (title, severity, detected_by) VALUES \
                    ('Old', 'low', 'me'), ('Old', 'low', 'me')",
    )
    .await;

    let indexes = "pg_indexes WHERE tablename = 'audit_events' AND indexname ~ \
        '^(idx_audit_(ts|user_ts|ip_ts|cat_ts|cui)|audit_events_pkey)$'";
    assert_eq!(count(&mut conn, indexes).await, 6);

    store::migrate(&mut conn).await.unwrap();
    store::migrate(&mut conn).await.unwrap();

    assert_eq!(
        count(
            &mut conn,
            "audit_events WHERE seq > 0 AND xact_id IS NOT NULL"
        )
        .await,
        500
    );

    assert_eq!(count(&mut conn, indexes).await, 6);
    assert_eq!(
        count(
            &mut conn,
            "pg_class WHERE oid = 'public.audit_events'::regclass AND relkind = 'r'"
        )
        .await,
        1
    );

    let alerts = store::alerts::list(&mut conn, &AlertFilter::default(), 10)
        .await
        .unwrap();
    assert_eq!(alerts[0].title, "An old alert");

    assert_eq!(
        store::incidents::list(&mut conn, true, 10)
            .await
            .unwrap()
            .len(),
        2
    );

    assert!(
        store::alerts::open_detections(&mut conn)
            .await
            .unwrap()
            .is_empty()
    );

    // Whoever owns it writes what they like into it, so it is one tenant's.
    let second = try_sql(
        &mut conn,
        "INSERT INTO users.tenants (name) VALUES ('other')",
    )
    .await;
    let refusal = second.unwrap_err().to_string();
    assert!(refusal.contains("there can be no second one"), "{refusal}");

    // Its key is event_id alone: the same id at another time is a duplicate here.
    let rows = [row(LOGIN, 1), row(LOGIN, 2)];
    assert_eq!(
        store::events::insert_audit(&mut conn, &rows)
            .await
            .unwrap()
            .accepted,
        2
    );

    let again = store::events::insert_audit(&mut conn, &[row(LOGIN, 2), row(LOGIN, 3)])
        .await
        .unwrap();
    assert_eq!((again.accepted, again.duplicates), (1, 1));
    let mut seen = 0;
    store::stored_events::stream(
        &mut conn,
        crate::at(-99_999_999),
        crate::at(99_999_999),
        |_| seen += 1,
    )
    .await
    .unwrap();

    assert_eq!(seen, 503);

    // And it is as append-only as a new one.
    for text in [
        "UPDATE audit_events SET action = 'x'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
    ] {
        assert!(
            try_sql(&mut conn, text)
                .await
                .unwrap_err()
                .to_string()
                .contains("append-only")
        );
    }

    let mut writer = db.connect_as("eqmon_audit_writer").await;
    sql(
        &mut writer,
        "INSERT INTO audit_events (category, action, result) VALUES ('auth', 'login', 'success')",
    )
    .await;

    for column in [
        "created_at) VALUES ('auth', 'a', 'success', now())",
        "seq) OVERRIDING SYSTEM VALUE VALUES ('auth', 'a', 'success', 1)",
    ] {
        let text = format!("INSERT INTO audit_events (category, action, result, {column}");
        assert!(
            try_sql(&mut writer, &text)
                .await
                .unwrap_err()
                .to_string()
                .contains("permission denied")
        );
    }

    let mut admin = db.connect_as("blueteam_admin").await;
    assert!(
        try_sql(&mut admin, "TRUNCATE blueteam.posture_scores")
            .await
            .is_err()
    );
}

/// Tables made from the design's list of names, with a few columns.
#[tokio::test]
async fn tables_that_lack_documented_columns_get_them() {
    let db = TestDb::empty().await;
    let mut conn = db.connect().await;
    sql(
        &mut conn,
        "CREATE SCHEMA blueteam;
         CREATE TABLE blueteam.security_incidents (
             incident_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text NOT NULL);
         CREATE TABLE blueteam.compliance_controls (
             control_id text PRIMARY KEY, family text NOT NULL, requirement text, status text);
         CREATE TABLE blueteam.alert_rules (rule_id text PRIMARY KEY, name text NOT NULL);
         CREATE TABLE blueteam.alert_history (
             alert_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text NOT NULL);
         INSERT INTO blueteam.security_incidents (title) VALUES ('Old');
         INSERT INTO blueteam.alert_history (title) VALUES ('An old alert');",
    )
    .await;

    store::migrate(&mut conn).await.unwrap();

    let incidents = store::incidents::list(&mut conn, true, 10).await.unwrap();
    assert_eq!(incidents[0].title, "Old");
    let alerts = store::alerts::list(&mut conn, &AlertFilter::default(), 10)
        .await
        .unwrap();
    assert_eq!(alerts[0].title, "An old alert");
    let made = "pg_attribute WHERE attrelid = 'blueteam.compliance_controls'::regclass AND attname \
        IN ('family_id', 'evidence_type', 'next_assessment')";
    assert_eq!(count(&mut conn, made).await, 3);
}

#[tokio::test]
async fn partitions_are_made_ahead_once() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    assert_eq!(store::ensure_partitions(&mut engine, 3).await.unwrap(), 0);
    assert_eq!(store::ensure_partitions(&mut engine, 5).await.unwrap(), 4);
    assert_eq!(store::ensure_partitions(&mut engine, 5).await.unwrap(), 0);

    // A month whose events came before its partition is passed over.
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "INSERT INTO audit_events (timestamp, category, action, result)
                     VALUES (now() + interval '6 months', 'auth', 'login', 'success')",
    )
    .await;
    assert_eq!(store::ensure_partitions(&mut engine, 6).await.unwrap(), 1);
}

#[tokio::test]
async fn old_months_are_dropped_by_the_one_function() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "SELECT blueteam.make_partition('public.audit_events', (date_trunc('month', \
        now()) - interval '30 months')::date);
                     INSERT INTO audit_events (timestamp, category, action, result)
                     VALUES (now() - interval '30 months', 'auth', 'login', 'success')",
    )
    .await;

    let mut engine = db.connect_as("blueteam_engine").await;
    let none: Vec<String> = sqlx::query_scalar("SELECT audit.drop_old_events(36)")
        .fetch_one(&mut engine)
        .await
        .unwrap();
    assert!(none.is_empty());

    let gone: Vec<String> = sqlx::query_scalar("SELECT audit.drop_old_events(1)")
        .fetch_one(&mut engine)
        .await
        .unwrap();
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert_eq!(count(&mut owner, "audit_events").await, 0);
}
