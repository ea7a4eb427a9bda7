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
        INSERT INTO users.users (username, email, password_hash) VALUES ('bob', \
        'bob@example.com', 'hash-one'); COMMIT",
    )
    .await;

    sql(
        &mut conn,
        "UPDATE users.users SET password_hash = 'hash-two', role = 'admin'; UPDATE users.users \
            SET role = role",
    )
    .await;
    sql(&mut db.connect().await, "DELETE FROM users.users").await;

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
            "blueteam_admin",
            "UPDATE",
            Some("[redacted, changed]"),
            Some("[redacted, changed]")
        )
    );

    assert_eq!(
        rows[2],
        ("blueteam_owner", "DELETE", Some("[redacted]"), None)
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
