//! What waits for a person.

use model::Severity;
use sqlx::Executor as _;
use store::duties::{self, Place};
use testkit::TestDb;

/// One of each kind, and beside each one that does not wait.
const PLANTED: &str = "
    INSERT INTO blueteam.security_incidents
        (incident_id, title, severity, status, detected_at, detected_by, dfars_reportable)
    VALUES ('00000000-0000-0000-0000-000000000001', 'reportable', 'high', 'analyzing', now() - interval '80 hours', 'x', true),
           ('00000000-0000-0000-0000-000000000002', 'of a waiting alert', 'high', 'detected', now(), 'x', false),
           ('00000000-0000-0000-0000-000000000003', 'closed', 'high', 'closed', now(), 'x', true);
    INSERT INTO blueteam.alert_history (rule_id, severity, title, entity_type, entity_value, incident_id, acknowledged, acknowledged_by)
    VALUES (NULL, 'medium', 'an old one', 'ip', '192.0.2.1', NULL, false, NULL),
           (NULL, 'critical', 'a bad one', 'ip', '192.0.2.2', '00000000-0000-0000-0000-000000000002', false, NULL),
           (NULL, 'critical', 'a seen one', 'ip', '192.0.2.3', NULL, true, 'dana');
    INSERT INTO blueteam.sources (source_id, kind) VALUES ('quiet.log', 'nginx'), ('loud.log', 'nginx');
    INSERT INTO blueteam.source_gaps (source_id, cause, started_at, ended_at, detail)
    VALUES ('quiet.log', 'silence', now() - interval '1 hour', NULL, 'silent for an hour'),
           ('loud.log', 'silence', now() - interval '2 hours', now(), 'was silent');
    INSERT INTO blueteam.notifications (channel, kind, payload, state, attempts)
    VALUES ('email', 'digest', '{}', 'dead', 9), ('email', 'digest', '{}', 'dead', 9), ('slack', 'digest', '{}', 'delivered', 1);
    INSERT INTO users.users (username, email, password_hash, role, account_locked_until)
    VALUES ('locked', 'l@example.com', '!', 'user', now() + interval '20 minutes'),
           ('free', 'f@example.com', '!', 'user', now() - interval '20 minutes');";

const ALL: [Place; 8] = [
    Place::Alerts,
    Place::Incidents,
    Place::Sources,
    Place::Plans,
    Place::Evidence,
    Place::Silences,
    Place::Accounts,
    Place::Advisories,
];

#[tokio::test]
async fn what_waits_is_listed_by_legal_clock_severity_and_age() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    owner.execute(sqlx::raw_sql(PLANTED)).await.unwrap();

    let mut admin = db.connect_as("blueteam_admin").await;
    let found = duties::list(&mut admin, &ALL, 100).await.unwrap();
    let names: Vec<(&str, &str)> = found
        .iter()
        .map(|one| (one.kind.as_str(), one.what.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("incident", "reportable"),
            ("account", "locked"),
            ("alert", "a bad one"),
            ("source", "quiet.log"),
            ("delivery", "email"),
            ("alert", "an old one"),
        ]
    );
    assert_eq!(found[4].detail, "2");
    assert!(found[0].due.is_some() && found[0].severity == Severity::High);
    assert!(duties::has_sources(&mut admin).await.is_ok_and(|has| !has));

    // A reader sees what their role may, and as much as is asked for.
    let some = [Place::Sources, Place::Accounts];
    let found = duties::list(&mut admin, &some, 100).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(duties::list(&mut admin, &ALL, 3).await.unwrap().len(), 3);

    // Whoever sees incidents and no alerts sees the incidents whose alerts wait.
    let found = duties::list(&mut admin, &[Place::Incidents], 9)
        .await
        .unwrap();
    assert_eq!(found.len(), 2);
}
