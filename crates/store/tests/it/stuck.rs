//! One row, one lock or one open transaction holds up nothing but itself.

use std::time::{Duration, Instant};

use model::{Alert, Channel, Phase, SecurityEvent, Severity, Span};
use sqlx::{Connection as _, PgConnection};
use store::alerts::{self, Applied, Route};
use store::events::insert_audit;
use store::reader::{self, Polled, Start};
use testkit::TestDb;

use crate::alerts::change;
use crate::{count, id, logins, sql};

/// Whatever is held, nothing may wait longer than this on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

fn to_console(_: &Alert) -> Route {
    vec![Channel::named("console")].into()
}

/// Thirty alerts of addresses of their own.
fn changes() -> Vec<model::DetectionUpdate> {
    let one = |n: u128| {
        let mut change = change(n, "brute_force", Severity::High, Phase::Opened, 6);
        change.detection.entity.value = format!("203.0.113.{n}");
        change
    };
    (0..30).map(one).collect()
}

async fn apply(conn: &mut PgConnection, changes: &[model::DetectionUpdate]) -> Applied {
    testkit::apply_alerts(conn, changes, to_console).await
}

async fn retry(conn: &mut PgConnection) -> Applied {
    testkit::retry_alerts(conn, to_console).await
}

async fn poll(conn: &mut PgConnection, cursor: &reader::Cursor) -> (Polled, Vec<String>) {
    let mut actions = Vec::new();
    let polled = reader::poll(conn, cursor, |event: &SecurityEvent<'_>| {
        actions.push(event.action.to_string());
    })
    .await;
    (polled.unwrap(), actions)
}

#[tokio::test]
async fn an_alert_that_the_database_refuses_waits_alone_and_is_written_later() {
    let db = TestDb::new().await;
    let (mut owner, mut engine) = (db.connect().await, db.connect_as("blueteam_engine").await);
    sql(
        &mut owner,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this \
            one'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON blueteam.alert_history FOR EACH ROW
             WHEN (NEW.entity_value = '203.0.113.17') EXECUTE FUNCTION refuse()",
    )
    .await;

    let done = apply(&mut engine, &changes()).await;
    assert_eq!(
        (
            done.opened.len(),
            done.incidents.len(),
            done.deliveries,
            done.pending.len()
        ),
        (29, 29, 29, 1)
    );

    assert!(
        done.pending[0].reason.contains("not this one") && !done.pending[0].conflict,
        "{:?}",
        done.pending
    );

    let waiting = alerts::pending(&mut engine, Span::ZERO)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(waiting.alerts, 1);

    sql(
        &mut owner,
        "UPDATE blueteam.pending_alerts SET next_try_at = now()",
    )
    .await;
    assert_eq!(
        retry(&mut engine).await.opened.len(),
        0,
        "it is still refused"
    );

    sql(
        &mut owner,
        "DROP TRIGGER refuse ON blueteam.alert_history; UPDATE blueteam.pending_alerts SET \
            next_try_at = now()",
    )
    .await;

    let done = retry(&mut engine).await;
    assert_eq!(
        (done.opened.len(), done.incidents.len(), done.deliveries),
        (1, 1, 1)
    );
    assert_eq!(
        alerts::pending(&mut engine, Span::ZERO).await.unwrap(),
        None
    );

    assert_eq!(count(&mut owner, "blueteam.alert_history").await, 30);
}

#[tokio::test]
async fn an_alert_whose_row_somebody_holds_waits_alone() {
    let db = TestDb::new().await;
    // A lock takes the right to update, which people do not have.
    let (mut admin, mut engine) = (db.connect().await, db.connect_as("blueteam_engine").await);
    assert_eq!(apply(&mut engine, &changes()).await.opened.len(), 30);

    let mut held = admin.begin().await.unwrap();
    sqlx::query(
        "SELECT FROM blueteam.alert_history WHERE entity_value = '203.0.113.17' FOR UPDATE",
    )
    .execute(&mut *held)
    .await
    .unwrap();

    let grown: Vec<_> = changes()
        .into_iter()
        .map(|mut change| {
            (change.phase, change.opened, change.detection.event_count) =
                (Phase::Extended, false, 9);
            change
        })
        .collect();

    let since = Instant::now();
    let done = apply(&mut engine, &grown).await;
    assert!(since.elapsed() < LIMIT, "{:?}", since.elapsed());
    assert_eq!((done.updated, done.pending.len()), (29, 1));
    assert!(done.pending[0].conflict);

    held.rollback().await.unwrap();
    sql(
        &mut db.connect().await,
        "UPDATE blueteam.pending_alerts SET next_try_at = now()",
    )
    .await;
    assert_eq!(retry(&mut engine).await.updated, 1);

    let grown: i64 =
        sqlx::query_scalar("SELECT count(*) FROM blueteam.alert_history WHERE event_count = 9")
            .fetch_one(&mut engine)
            .await
            .unwrap();
    assert_eq!(grown, 30);
}

#[tokio::test]
async fn a_locked_table_postpones_every_alert_and_loses_none() {
    let db = TestDb::new().await;
    let (mut owner, mut engine) = (db.connect().await, db.connect_as("blueteam_engine").await);
    let many: Vec<_> = (0..500_u128)
        .map(|n| {
            let mut change = change(n, "brute_force", Severity::Medium, Phase::Opened, 6);
            change.detection.entity.value = format!("2001:db8::{n:x}");
            change
        })
        .collect();

    let mut held = owner.begin().await.unwrap();
    sqlx::query("LOCK TABLE blueteam.notifications IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .unwrap();

    let since = Instant::now();
    let done = apply(&mut engine, &many).await;
    assert!(
        since.elapsed() < LIMIT,
        "each of them is not waited for: {:?}",
        since.elapsed()
    );
    assert_eq!((done.opened.len(), done.pending.len()), (0, 500));

    held.rollback().await.unwrap();
    sql(
        &mut owner,
        "UPDATE blueteam.pending_alerts SET next_try_at = now()",
    )
    .await;
    assert_eq!(retry(&mut engine).await.opened.len(), 500);
}

#[tokio::test]
async fn no_other_login_can_take_the_rights_of_the_engine() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    assert!(reader::claim(&mut engine, "monitor", id(1)).await.unwrap());

    let mut stranger = db.connect_as("eqmon_audit_writer").await;
    for key in [
        "blueteam.alerts.apply",
        "blueteam.reader.monitor",
        "alerts",
        "monitor",
    ] {
        let lock = format!("SELECT pg_advisory_lock(hashtextextended('{key}', 0))");
        sqlx::query(sqlx::AssertSqlSafe(lock))
            .execute(&mut stranger)
            .await
            .unwrap();
    }

    for role in [
        "eqmon_audit_writer",
        "blueteam_ingest",
        "blueteam_reader",
        "blueteam_admin",
    ] {
        let mut conn = db.connect_as(role).await;
        for statement in [
            "SELECT FROM blueteam.exclusive_rights FOR UPDATE",
            "SELECT FROM blueteam.exclusive_rights FOR KEY SHARE",
            "SELECT FROM blueteam.reader_leases FOR UPDATE",
            "DO $$ BEGIN LOCK TABLE blueteam.exclusive_rights IN ACCESS EXCLUSIVE MODE; END $$",
            "DO $$ BEGIN LOCK TABLE blueteam.reader_leases IN ROW EXCLUSIVE MODE; END $$",
            "UPDATE blueteam.reader_leases SET renewed_at = now()",
            "DELETE FROM blueteam.pending_alerts",
            "UPDATE blueteam.unreadable_events SET rows = 1",
        ] {
            let done = sqlx::query(statement).execute(&mut conn).await;
            let code = done.err().and_then(|e| {
                e.as_database_error()
                    .and_then(|e| e.code().map(|c| c.to_string()))
            });
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {statement}");
        }
    }

    assert_eq!(apply(&mut engine, &changes()).await.opened.len(), 30);
}

#[tokio::test]
async fn the_right_to_read_ends_with_its_connection() {
    let db = TestDb::new().await;
    let (mut first, mut second) = (
        db.connect_as("blueteam_engine").await,
        db.connect_as("blueteam_engine").await,
    );
    assert!(reader::claim(&mut first, "monitor", id(1)).await.unwrap());
    assert!(
        reader::claim(&mut first, "monitor", id(1)).await.unwrap(),
        "it is renewed"
    );

    assert!(!reader::claim(&mut second, "monitor", id(2)).await.unwrap());

    sql(
        &mut db.connect().await,
        "UPDATE blueteam.reader_leases SET renewed_at = now() - interval '3 minutes'",
    )
    .await;
    assert!(
        reader::claim(&mut second, "monitor", id(2)).await.unwrap(),
        "whoever hangs has lost it"
    );

    assert!(!reader::claim(&mut first, "monitor", id(1)).await.unwrap());

    second.close().await.unwrap();
    let since = Instant::now();
    while !reader::claim(&mut first, "monitor", id(1)).await.unwrap() {
        assert!(since.elapsed() < LIMIT);
    }
}

#[tokio::test]
async fn a_row_that_no_event_may_be_is_set_aside_and_the_others_are_read() {
    let db = TestDb::new().await;
    let (mut owner, mut engine) = (db.connect().await, db.connect_as("blueteam_engine").await);
    let cursor = reader::initialize(&mut engine, "monitor", Start::Beginning)
        .await
        .unwrap();

    // A table as the design document has it, without these checks.
    sql(
        &mut owner,
        "ALTER TABLE audit_events DROP CONSTRAINT audit_events_category_check;
         ALTER TABLE audit_events DROP CONSTRAINT audit_events_result_check",
    )
    .await;
    insert_audit(&mut owner, &logins(1..4)).await.unwrap();

    for (category, result) in [
        ("security", "success"),
        ("auth", "maybe"),
        ("security", "failure"),
    ] {
        let insert = "INSERT INTO audit_events (category, action, result) VALUES ($1, 'odd', $2)";
        sqlx::query(insert)
            .bind(category)
            .bind(result)
            .execute(&mut owner)
            .await
            .unwrap();
    }

    insert_audit(&mut owner, &logins(4..6)).await.unwrap();

    let (polled, actions) = poll(&mut engine, &cursor).await;
    assert_eq!(actions, ["login"; 5]);
    assert_eq!(polled.set_aside.rows(), 3);
    assert_eq!(
        polled.set_aside.describe(),
        "2 rows of audit_events: an unknown category; 1 row of audit_events: an unknown result"
    );

    let mut tx = engine.begin().await.unwrap();
    reader::record_set_aside(&mut tx, &polled.set_aside)
        .await
        .unwrap();
    reader::record_set_aside(&mut tx, &polled.set_aside)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let recorded = reader::unreadable(&mut engine, Span::hours(1))
        .await
        .unwrap();
    assert_eq!(
        recorded
            .iter()
            .map(|(_, _, rows)| *rows)
            .collect::<Vec<_>>(),
        [4, 2]
    );

    let mut seen = 0;
    let past = store::stored_events::stream(
        &mut engine,
        model::Timestamp::MIN,
        model::Timestamp::MAX,
        |_| seen += 1,
    )
    .await;
    let (events, set_aside) = past.unwrap();
    assert_eq!((events, seen, set_aside.rows()), (5, 5, 3));
}

#[tokio::test]
async fn a_row_that_the_server_cannot_put_out_is_found_and_left_out() {
    let db = TestDb::new().await;
    let (mut owner, mut engine) = (db.connect().await, db.connect_as("blueteam_engine").await);
    let cursor = reader::initialize(&mut engine, "monitor", Start::Beginning)
        .await
        .unwrap();

    insert_audit(&mut owner, &logins(1..40)).await.unwrap();
    // A value whose output fails, as one in a damaged block does: its enum no longer has that
    // label.
    sql(
        &mut owner,
        "DROP VIEW blueteam.audit_events CASCADE;
         CREATE TYPE kind AS ENUM ('page', 'broken');
         ALTER TABLE audit_events ALTER resource_type TYPE kind USING resource_type::kind;
         INSERT INTO audit_events (category, action, result, resource_type) VALUES ('auth', \
         'bad', 'success', 'broken');
         DELETE FROM pg_enum WHERE enumlabel = 'broken'",
    )
    .await;

    sql(
        &mut owner,
        "INSERT INTO audit_events (category, action, result) SELECT 'auth', 'login', 'failure' \
            FROM generate_series(1, 40)",
    )
    .await;

    let error = reader::poll(&mut engine, &cursor, |_| ())
        .await
        .unwrap_err();
    assert!(error.is_about_output() && !error.is_outage(), "{error}");
    engine = db.connect_as("blueteam_engine").await;

    // A table that is locked meanwhile makes no row unreadable.
    let mut held = owner.begin().await.unwrap();
    sqlx::query("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    sql(&mut engine, "SET lock_timeout = '50ms'").await;

    let error = reader::withhold_unreadable(&mut engine, &cursor, model::Timestamp::MAX)
        .await
        .unwrap_err();
    assert!(error.is_conflict() && !error.is_about_output(), "{error}");
    held.rollback().await.unwrap();
    assert_eq!(count(&mut owner, "blueteam.withheld_events").await, 0);

    let found = reader::withhold_unreadable(&mut engine, &cursor, model::Timestamp::MAX)
        .await
        .unwrap();
    assert_eq!(found, 1);

    assert_eq!(
        reader::withhold_unreadable(&mut engine, &cursor, model::Timestamp::MAX)
            .await
            .unwrap(),
        0
    );

    let cursor = reader::load(&mut engine, "monitor").await.unwrap().unwrap();
    let (polled, actions) = poll(&mut engine, &cursor).await;
    assert_eq!((polled.events, actions.len()), (79, 79));
    assert!(actions.iter().all(|action| action == "login"));
}

#[tokio::test]
async fn an_event_that_conflicts_with_an_open_transaction_delays_only_itself() {
    let db = TestDb::new().await;
    let (mut application, mut ingest) = (
        db.connect_as("eqmon_audit_writer").await,
        db.connect_as("blueteam_ingest").await,
    );
    let rows = logins(0..2_000);
    let mut held = application.begin().await.unwrap();

    for row in [&rows[3], &rows[1_500]] {
        let sql = "INSERT INTO audit_events (event_id, timestamp, category, action, result)
                   VALUES ($1, 'epoch'::timestamptz + $2 * interval '1 microsecond', 'auth', \
                   'login', 'success')";
        let (id, at) = (row.event_id().0, row.timestamp().as_micros() as f64);
        sqlx::query(sql)
            .bind(id)
            .bind(at)
            .execute(&mut *held)
            .await
            .unwrap();
    }

    sql(&mut ingest, "SET lock_timeout = '1s'").await;
    let since = Instant::now();
    let done = store::events::insert_audit_parts(&mut ingest, &rows, &[1_000, 2_000])
        .await
        .unwrap();

    assert!(since.elapsed() < LIMIT, "{:?}", since.elapsed());
    let seen: Vec<_> = done
        .iter()
        .map(|d| (d.accepted, d.duplicates, d.conflicting.clone()))
        .collect();
    assert_eq!(seen, [(999, 0, vec![3]), (999, 0, vec![500])]);
    assert!(done.iter().all(|d| d.rejected.is_empty()));

    held.rollback().await.unwrap();
    let again = store::events::insert_audit_parts(&mut ingest, &rows, &[2_000])
        .await
        .unwrap();
    assert_eq!((again[0].accepted, again[0].duplicates), (2, 1_998));
}

/// Rows whose sender says nothing of their time, which is known by their first arrival.
fn without_times(
    rows: Vec<store::events::AuditRow<'static>>,
) -> Vec<store::events::AuditRow<'static>> {
    rows.into_iter()
        .map(|row| row.claiming(Some(store::events::Claim::NoTime)))
        .collect()
}

#[tokio::test]
async fn many_conflicts_of_one_sender_leave_the_others_alone_and_take_no_longer() {
    let db = TestDb::new().await;
    let (mut application, mut ingest) = (
        db.connect_as("eqmon_audit_writer").await,
        db.connect_as("blueteam_ingest").await,
    );

    // A thousand of the attacker's, then a hundred of somebody else, of whom some name no time.
    let (mut rows, honest) = (logins(0..1_000), logins(1_000..1_090));
    let mut held = application.begin().await.unwrap();
    for row in &rows {
        let sql = "INSERT INTO audit_events (event_id, timestamp, category, action, result)
                   VALUES ($1, 'epoch'::timestamptz + $2 * interval '1 microsecond', 'auth', \
                   'login', 'success')";
        let (id, at) = (row.event_id().0, row.timestamp().as_micros() as f64);
        sqlx::query(sql)
            .bind(id)
            .bind(at)
            .execute(&mut *held)
            .await
            .unwrap();
    }

    rows.extend(honest);
    rows.extend(without_times(logins(1_090..1_100)));

    store::events::prepare_writer(&mut ingest).await.unwrap();
    let since = Instant::now();
    let done = store::events::insert_audit_parts(&mut ingest, &rows, &[500, 1_000, 1_100])
        .await
        .unwrap();

    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(
        done.iter().map(|d| d.accepted).collect::<Vec<_>>(),
        [0, 0, 100]
    );

    assert_eq!(
        done.iter().map(|d| d.conflicting.len()).collect::<Vec<_>>(),
        [500, 500, 0]
    );
    held.rollback().await.unwrap();
}

#[tokio::test]
async fn a_first_arrival_that_somebody_else_notes_delays_that_event_alone() {
    let db = TestDb::new().await;
    let (mut other, mut ingest) = (
        db.connect_as("blueteam_ingest").await,
        db.connect_as("blueteam_ingest").await,
    );
    let claiming = without_times(logins(7..8));
    let mut held = other.begin().await.unwrap();
    sqlx::query("SELECT blueteam.first_arrivals(ARRAY[$1], ARRAY[$2::bigint], ARRAY[1::bigint])")
        .bind(claiming[0].event_id().0)
        .bind(i64::MIN)
        .execute(&mut *held)
        .await
        .unwrap();

    store::events::prepare_writer(&mut ingest).await.unwrap();
    let rows: Vec<_> = logins(0..5)
        .into_iter()
        .chain(claiming)
        .chain(logins(8..10))
        .collect();
    let done = store::events::insert_audit_parts(&mut ingest, &rows, &[rows.len()])
        .await
        .unwrap();
    assert_eq!(
        (done[0].accepted, done[0].conflicting.as_slice()),
        (7, &[5][..])
    );

    held.rollback().await.unwrap();
    let again = store::events::insert_audit_parts(&mut ingest, &rows, &[rows.len()])
        .await
        .unwrap();
    assert_eq!((again[0].accepted, again[0].duplicates), (1, 7));
}

#[tokio::test]
async fn a_locked_table_of_events_is_an_outage_and_not_a_search() {
    let db = TestDb::new().await;
    let (mut owner, mut ingest) = (db.connect().await, db.connect_as("blueteam_ingest").await);
    let mut held = owner.begin().await.unwrap();
    sqlx::query("LOCK TABLE audit_events IN SHARE MODE")
        .execute(&mut *held)
        .await
        .unwrap();

    sql(&mut ingest, "SET lock_timeout = '200ms'").await;
    let since = Instant::now();
    let error = store::events::insert_audit_parts(&mut ingest, &logins(0..2_000), &[2_000])
        .await
        .unwrap_err();
    assert!(
        error.is_conflict() && since.elapsed() < Duration::from_secs(5),
        "{error} after {:?}",
        since.elapsed()
    );

    held.rollback().await.unwrap();
    assert_eq!(count(&mut owner, "audit_events").await, 0);
}
