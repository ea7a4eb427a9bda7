//! Whom and what alerts and their incidents name.

use model::{Phase, Severity};
use sqlx::PgConnection;
use store::alerts::AlertFilter;
use testkit::TestDb;

use crate::alerts::{apply, change, of};
use crate::{at, id};

async fn one<T>(conn: &mut PgConnection, sql: &str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(conn)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_alert_names_the_accounts_that_were_tried_and_its_user() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    for (n, name) in ["root", "admin", "root", "ann"].into_iter().enumerate() {
        sqlx::query(
            "INSERT INTO public.audit_events (event_id, timestamp, category, action, result, metadata)
             VALUES ($1, to_timestamp($2), 'auth', $4, $5, jsonb_build_object('username', $3))",
        )
        .bind(id(n as u128))
        .bind(at(n as i64).as_secs())
        .bind(name)
        .bind(if n == 3 { "login" } else { "login_failed" })
        .bind(if n == 3 { "success" } else { "failure" })
        .execute(&mut db.connect().await)
        .await
        .unwrap();
    }

    let mut change = of(1, 4, 0..4, Phase::Opened);
    change.detection.entity_name = Some("carla".to_owned());
    apply(&mut conn, &[change]).await;

    let alert = store::alerts::list(&mut conn, &AlertFilter::default(), 9)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        alert.accounts,
        ["admin", "root"],
        "a login that succeeded tried nothing"
    );
    assert_eq!(alert.entity_name.as_deref(), Some("carla"));
}

#[tokio::test]
async fn an_incident_has_the_title_of_its_worst_alert_as_that_grows() {
    const TITLE: &str = "SELECT title FROM blueteam.security_incidents";

    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let brute_force = |phase, events, title: &str| {
        let mut change = change(1, "brute_force", Severity::High, phase, events);
        change.detection.title = title.to_owned();
        change
    };

    apply(&mut conn, &[brute_force(Phase::Opened, 6, "6 failed")]).await;
    apply(&mut conn, &[brute_force(Phase::Extended, 7, "7 failed")]).await;
    assert_eq!(
        one::<String>(&mut conn, TITLE).await,
        "6 failed",
        "told when it has doubled"
    );
    apply(&mut conn, &[brute_force(Phase::Extended, 12, "12 failed")]).await;
    assert_eq!(one::<String>(&mut conn, TITLE).await, "12 failed");

    let worse = change(
        2,
        "success_after_brute_force",
        Severity::Critical,
        Phase::Opened,
        7,
    );
    apply(&mut conn, std::slice::from_ref(&worse)).await;
    assert_eq!(one::<String>(&mut conn, TITLE).await, worse.detection.title);
    apply(&mut conn, &[brute_force(Phase::Closed, 40, "40 failed")]).await;
    assert_eq!(one::<String>(&mut conn, TITLE).await, worse.detection.title);
}

/// DFARS 252.204-7012: whether CUI was touched does not depend on which alert saw it.
#[tokio::test]
async fn cui_that_a_lesser_alert_saw_marks_the_incident() {
    const MARKED: &str = "SELECT cui_involved IS TRUE AND dfars_reportable IS TRUE \
        FROM blueteam.security_incidents";

    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let mut cui = change(2, "after_hours", Severity::Medium, Phase::Opened, 1);
    cui.detection.cui_involved = true;

    apply(
        &mut conn,
        &[change(1, "brute_force", Severity::High, Phase::Opened, 6)],
    )
    .await;
    assert!(!one::<bool>(&mut conn, MARKED).await);
    apply(&mut conn, std::slice::from_ref(&cui)).await;
    assert!(one::<bool>(&mut conn, MARKED).await);

    // The other way round: the incident comes after.
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    apply(&mut conn, &[cui]).await;
    apply(
        &mut conn,
        &[change(1, "brute_force", Severity::High, Phase::Opened, 6)],
    )
    .await;
    assert!(one::<bool>(&mut conn, MARKED).await);
}
