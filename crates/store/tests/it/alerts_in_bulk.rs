//! However many changes a transaction holds, they leave what they leave one by one.

use model::{
    Alert, Channel, DetectionUpdate, Entity, EntityKind, Phase, Severity, SilenceId, Span,
};
use sqlx::PgConnection;
use store::alerts::Route;
use testkit::TestDb;

use crate::alerts::change;
use crate::{count, id, sql};

/// A change about an address of its own.
fn about(n: u128, host: u8, severity: Severity, phase: Phase, events: u64) -> DetectionUpdate {
    let rule = match severity {
        Severity::Critical => "credential_stuffing",
        Severity::High => "brute_force",
        _ => "rate_limit_surge",
    };

    let mut change = change(n, rule, severity, phase, events);
    change.detection.entity = Entity {
        kind: EntityKind::Ip,
        value: format!("203.0.113.{host}"),
    };
    change
}

/// What many addresses do at once: alone, with others, over, with CUI, after something critical.
fn story() -> Vec<DetectionUpdate> {
    let mut story = Vec::new();
    for n in 0..40 {
        let host = u8::try_from(n).unwrap();
        story.push(about(n, host, Severity::High, Phase::Opened, 6));
        if n % 4 == 0 {
            story.push(about(100 + n, host, Severity::Critical, Phase::Opened, 12));
        }
        if n % 3 == 0 {
            story.push(about(200 + n, host, Severity::Medium, Phase::Opened, 60));
        }
        if n % 5 == 0 {
            let mut cui = about(300 + n, host, Severity::High, Phase::Opened, 7);
            cui.detection.cui_involved = true;
            story.push(cui);
        }
    }

    for n in (0..40).step_by(2) {
        let host = u8::try_from(n).unwrap();
        story.push(about(n, host, Severity::High, Phase::Extended, 7));
        story.push(about(n, host, Severity::High, Phase::Closed, 8));
    }
    story
}

/// Critical alerts of every eighth address are silenced.
fn route(alert: &Alert) -> Route {
    let host: u8 = alert
        .entity
        .value
        .rsplit_once('.')
        .unwrap()
        .1
        .parse()
        .unwrap();
    Route {
        channels: vec![Channel::named("email"), Channel::named("webhook")],
        muted_by: (host.is_multiple_of(8) && alert.severity == Severity::Critical)
            .then_some(SilenceId(id(77))),
        most: Some((20, Span::hours(1))),
    }
}

/// All rows of what is kept, without what differs from run to run.
async fn kept(conn: &mut PgConnection) -> Vec<String> {
    let text = "
        WITH incident AS (
            SELECT incident_id, entity_type || ' ' || entity_value AS about
            FROM blueteam.security_incidents
        ),
        kept AS (
            SELECT 'alert ' || (
                to_jsonb(a) - '{created_at,updated_at,incident_id}'::text[]
                    || jsonb_build_object('incident', i.about)
            )::text AS line
            FROM blueteam.alert_history a
            LEFT JOIN incident i USING (incident_id)
            UNION ALL
            SELECT 'incident ' || (
                to_jsonb(s) - '{incident_id,created_at,updated_at,detected_at}'::text[]
            )::text
            FROM blueteam.security_incidents s
            UNION ALL
            SELECT concat_ws(' ', 'message', alert_id, channel, kind, payload ->> 'title',
                payload ->> 'event_count')
            FROM blueteam.notifications
            UNION ALL
            SELECT concat_ws(' ', 'folded', alert_id, channel) FROM blueteam.rate_limited_alerts
            UNION ALL
            SELECT concat_ws(
                ' ',
                'record',
                l.actor,
                l.action,
                coalesce(i.about, l.resource_id),
                l.metadata - 'transaction',
                l.old_value - noise.columns,
                l.new_value - noise.columns
            )
            FROM audit.audit_log l
            CROSS JOIN (
                SELECT '{incident_id,created_at,updated_at,detected_at}'::text[] AS columns
            ) AS noise
            LEFT JOIN incident i ON i.incident_id::text = l.resource_id
            WHERE l.resource_type IN ('ALERT', 'INCIDENT')
        )
        SELECT line FROM kept ORDER BY line";
    sqlx::query_scalar(text).fetch_all(conn).await.unwrap()
}

/// What the story leaves when that many changes are written at once.
async fn left_by(at_once: usize) -> Vec<String> {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        &format!(
            "INSERT INTO blueteam.silences (mute_id, kind, rule_id, author, reason, starts_at, ends_at)
             VALUES ('{}', 'silence', 'credential_stuffing', 'dana', 'a drill', now(), now() + '1 hour')",
            id(77)
        ),
    )
    .await;

    let mut engine = db.connect_as("blueteam_engine").await;
    for changes in story().chunks(at_once) {
        testkit::apply_alerts(&mut engine, changes, route).await;
    }
    kept(&mut owner).await
}

#[tokio::test]
async fn many_changes_at_once_leave_what_they_leave_one_by_one() {
    let one_by_one = left_by(1).await;
    let at_once = left_by(usize::MAX).await;
    assert!(one_by_one.iter().any(|line| line.starts_with("folded")));
    assert!(
        one_by_one
            .iter()
            .any(|line| line.contains("\"muted_by_alert\": \""))
    );
    assert!(
        one_by_one
            .iter()
            .any(|line| line.contains("\"muted_by_mute\": \""))
    );
    assert_eq!(at_once, one_by_one);
    assert_eq!(left_by(7).await, one_by_one);
}

/// An alert and its incident are written once, with all that is known, and that is what is on
/// record.
#[tokio::test]
async fn a_new_alert_is_one_record_and_so_is_its_incident() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let changes: Vec<DetectionUpdate> = (0..200)
        .map(|n| {
            about(
                n,
                u8::try_from(n).unwrap(),
                Severity::High,
                Phase::Opened,
                6,
            )
        })
        .collect();
    let applied = testkit::apply_alerts(&mut engine, &changes, |_| Route::default()).await;
    assert_eq!((applied.opened.len(), applied.incidents.len()), (200, 200));

    let mut owner = db.connect().await;
    let recorded = "audit.audit_log
         WHERE resource_type IN ('ALERT', 'INCIDENT')";
    assert_eq!(count(&mut owner, recorded).await, 400);
    let linked = "audit.audit_log l
         JOIN blueteam.alert_history a ON l.resource_id = a.alert_id::text
         WHERE l.action = 'CREATE' AND l.new_value ->> 'incident_id' = a.incident_id::text";
    assert_eq!(count(&mut owner, linked).await, 200);
}

/// An alert that was stored without an incident, such as by a version that opened none for it, gets
/// one when it goes on.
#[tokio::test]
async fn a_stored_alert_without_an_incident_joins_one_when_it_goes_on() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let open = |events| about(1, 1, Severity::High, Phase::Opened, events);
    testkit::apply_alerts(&mut engine, &[open(6)], |_| Route::default()).await;
    sql(
        &mut db.connect().await,
        "UPDATE blueteam.alert_history SET incident_id = NULL",
    )
    .await;

    let other = about(2, 1, Severity::Critical, Phase::Opened, 12);
    let grown = about(1, 1, Severity::High, Phase::Extended, 9);
    let applied = testkit::apply_alerts(&mut engine, &[grown, other], |_| Route::default()).await;
    assert!(applied.incidents.is_empty(), "the open one is theirs");

    let linked = "blueteam.alert_history a JOIN blueteam.security_incidents i USING (incident_id)
         WHERE i.severity = 'critical'";
    assert_eq!(count(&mut engine, linked).await, 2);
}
