use sqlx::Connection as _;
use testkit::TestDb;

use crate::{count, sql, try_sql};

#[tokio::test]
async fn changes_are_recorded_with_their_author_and_without_secrets() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_admin").await;
    sql(
        &mut conn,
        "BEGIN; SELECT set_config('blueteam.actor', 'alice', true);
        INSERT INTO users.users (username, email) VALUES ('bob', 'bob@example.com'); COMMIT",
    )
    .await;

    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "UPDATE users.users SET password_hash = 'hash-two', role = 'admin'; UPDATE users.users \
            SET role = role; UPDATE users.users SET password_hash = 'hash-three'",
    )
    .await;

    let rows: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT actor, action::text, old_value ->> 'password_hash', new_value ->> 'password_hash' \
            FROM audit.audit_log ORDER BY created_at, id",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|(a, b, c, d)| (a.as_str(), b.as_str(), c.as_deref(), d.as_deref()))
        .collect();

    assert_eq!(rows[0], ("alice", "CREATE", None, Some("[redacted]")));
    assert_eq!(
        rows[1],
        (
            "blueteam_owner",
            "ROLE_CHANGE",
            Some("[redacted, changed]"),
            Some("[redacted, changed]")
        )
    );

    assert_eq!(
        rows[2],
        (
            "blueteam_owner",
            "PASSWORD_CHANGE",
            Some("[redacted, changed]"),
            Some("[redacted, changed]")
        )
    );
    assert_eq!(rows.len(), 3);
    assert_eq!(
        count(&mut conn, "audit.audit_log a WHERE a::text LIKE '%hash-%'").await,
        0
    );
}

#[tokio::test]
async fn a_truncate_leaves_every_row_behind() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "CREATE TABLE public.vehicles (a int, b int, PRIMARY KEY (b, a)); SELECT \
        audit.track('public.vehicles', 'VEHICLE');
                     SELECT audit.track('public.vehicles', 'VEHICLE'); INSERT INTO vehicles \
                     VALUES (1, 2), (3, 4); TRUNCATE vehicles",
    )
    .await;

    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT resource_id FROM audit.audit_log WHERE action = 'DELETE' ORDER BY 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(ids, ["2,1", "4,3"]);
}

#[tokio::test]
async fn addresses_are_blanked_past_their_age_and_nothing_else() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "INSERT INTO audit.audit_log (actor, action, resource_type, ip_address, \
        created_at) VALUES
                     ('a', 'LOGIN', 'USER', '192.0.2.1', now() - interval '91 days'), ('a', \
                     'LOGIN', 'USER', '192.0.2.2', now())",
    )
    .await;

    let mut engine = db.connect_as("blueteam_engine").await;
    let mut tx = engine.begin().await.unwrap();
    let blanked: i64 = sqlx::query_scalar("SELECT audit.anonymize('1 day')")
        .fetch_one(&mut *tx)
        .await
        .unwrap();

    tx.commit().await.unwrap();
    assert_eq!(blanked, 1);
    assert_eq!(
        count(&mut owner, "audit.audit_log WHERE ip_address = '192.0.2.2'").await,
        1
    );

    let mut retention = db.connect_as("audit_retention").await;
    for text in [
        "UPDATE audit.audit_log SET ip_address = '[anonymized]'",
        "UPDATE audit.audit_log SET ip_address = 'x'",
    ] {
        assert!(
            try_sql(&mut retention, text)
                .await
                .unwrap_err()
                .to_string()
                .contains("append-only")
        );
    }
}

/// What a table leaves in the log that is changed in every way, whoever tracks it.
async fn records_of(track: &str) -> Vec<(String, Option<String>, Option<String>, Option<String>)> {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "CREATE TABLE public.vehicles (
             id int PRIMARY KEY, plate text, secret text, seen int NOT NULL DEFAULT 0
         )",
    )
    .await;
    sql(&mut owner, track).await;
    sql(&mut owner, track).await;

    for text in [
        "INSERT INTO vehicles SELECT n, 'plate ' || n, 'secret ' || n FROM generate_series(1, 50) n",
        "INSERT INTO vehicles VALUES (3, 'new', NULL), (4, 'plate 4', 'secret 4'), (60, 'sixty', NULL)
             ON CONFLICT (id) DO UPDATE SET plate = excluded.plate, secret = excluded.secret",
        "UPDATE vehicles SET seen = seen + 1",
        "UPDATE vehicles SET seen = seen + 1, secret = CASE WHEN id < 5 THEN 'other' ELSE secret END",
        "UPDATE vehicles SET plate = plate WHERE id = 7",
        "UPDATE vehicles SET plate = 'none' WHERE id = 1000",
        "DELETE FROM vehicles WHERE id BETWEEN 10 AND 20",
        "DELETE FROM vehicles WHERE id = 1000",
        "WITH gone AS (DELETE FROM vehicles WHERE id = 21 RETURNING plate)
             INSERT INTO vehicles SELECT 61, plate FROM gone",
        "TRUNCATE vehicles",
    ] {
        sql(
            &mut owner,
            &format!(
                "BEGIN;
                 SELECT set_config('blueteam.actor', 'alice', true),
                     set_config('blueteam.on_behalf_of', 'bob', true),
                     set_config('blueteam.address', '192.0.2.1', true);
                 {text};
                 COMMIT"
            ),
        )
        .await;
    }

    sqlx::query_as(
        "SELECT
             concat_ws(' ', user_id, actor, action, resource_type, ip_address, user_agent,
                 metadata - 'transaction'),
             resource_id, old_value::text, new_value::text
         FROM audit.audit_log
         ORDER BY created_at, action, resource_id, old_value, new_value",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_table_tracked_in_bulk_leaves_the_records_of_one_tracked_by_row() {
    let by_row = records_of("SELECT audit.track('public.vehicles', 'VEHICLE', '{seen}')").await;
    let in_bulk =
        records_of("SELECT audit.track_in_bulk('public.vehicles', 'VEHICLE', '{seen}')").await;

    assert_eq!(
        by_row.len(),
        51 + 1 + 4 + 11 + 2 + 40,
        "inserts, the upsert, secrets, deletes, the move, the TRUNCATE"
    );
    assert_eq!(in_bulk, by_row);
    assert!(!format!("{in_bulk:?}").contains("secret 1"));
}

#[tokio::test]
async fn a_change_of_keys_in_bulk_loses_no_value() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "CREATE TABLE public.vehicles (id int PRIMARY KEY, plate text);
         SELECT audit.track_in_bulk('public.vehicles', 'VEHICLE');
         INSERT INTO vehicles VALUES (1, 'one'), (2, 'two');
         UPDATE vehicles SET id = id + 10",
    )
    .await;

    let rows: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT resource_id, old_value ->> 'plate', new_value ->> 'plate'
         FROM audit.audit_log
         WHERE action = 'UPDATE'
         ORDER BY resource_id COLLATE \"C\"",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let row = |id: &str, old: Option<&str>, new: Option<&str>| {
        (
            id.to_owned(),
            old.map(str::to_owned),
            new.map(str::to_owned),
        )
    };
    assert_eq!(
        rows,
        [
            row("1", Some("one"), None),
            row("11", None, Some("one")),
            row("12", None, Some("two")),
            row("2", Some("two"), None),
        ]
    );

    let refused = try_sql(
        &mut owner,
        "CREATE TABLE public.pairs (a int, b int, PRIMARY KEY (a, b));
         SELECT audit.track_in_bulk('public.pairs', 'VEHICLE')",
    )
    .await
    .unwrap_err();
    assert!(refused.to_string().contains("not one column"), "{refused}");
}
