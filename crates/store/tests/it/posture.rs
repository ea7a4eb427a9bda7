//! What the posture is counted from: sources by what could be seen of them, work by whether it was
//! done in time.

use model::{Clock as _, Severity, Span, SystemClock};
use store::posture::{self, Patience};
use testkit::TestDb;

use crate::sql;

/// A month with one source of each kind of trouble.
const SOURCES: &str = "
    INSERT INTO blueteam.sources (source_id, kind, first_seen_at, last_received_at, received, accepted, rejected)
    VALUES ('whole', 'syslog', now() - interval '60 days', now(), 10, 10, 0),
           ('silent', 'syslog', now() - interval '60 days', now(), 10, 10, 0),
           ('unread', 'syslog', now() - interval '60 days', now(), 10, 5, 5),
           ('young', 'syslog', now() - interval '2 days', now(), 10, 10, 0),
           ('gone', 'syslog', now() - interval '60 days', now(), 10, 10, 0);
    INSERT INTO blueteam.sources (source_id, kind, first_seen_at) VALUES ('mute', 'syslog', now() - interval '60 days');
    UPDATE blueteam.sources SET gone_at = now() WHERE source_id = 'gone';
    -- Two gaps that overlap are one, and what lies before the month costs nothing.
    INSERT INTO blueteam.source_gaps (source_id, cause, started_at, ended_at, detail)
    VALUES ('silent', 'silence', now() - interval '50 days', now() - interval '27 days', 'x'),
           ('silent', 'outage', now() - interval '29 days', now() - interval '27 days', 'x'),
           ('silent', 'silence', now() - interval '3 days', NULL, 'x'),
           ('young', 'silence', now() - interval '1 day', NULL, 'x');";

#[tokio::test]
async fn a_source_counts_by_the_time_in_which_it_could_be_seen() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, SOURCES).await;
    let now = SystemClock.now();
    let found = posture::sources(&mut owner, now.minus(Span::days(30)), now)
        .await
        .unwrap();
    let shares: Vec<(&str, f64)> = found
        .iter()
        .map(|source| (source.source_id.as_str(), (source.share * 100.0).round()))
        .collect();
    let expected = [
        ("mute", 0.0),
        ("silent", 80.0),
        ("unread", 50.0),
        ("whole", 100.0),
        ("young", 50.0),
    ];
    assert_eq!(shares, expected);
}

const WORK: &str = "
    INSERT INTO blueteam.alert_rules (rule_id, name, severity) VALUES ('r', 'r', 'high');
    INSERT INTO blueteam.alert_history (rule_id, severity, title, created_at, acknowledged, acknowledged_by, acknowledged_at)
    VALUES ('r', 'critical', 'in time', now() - interval '1 day', true, 'a', now() - interval '1 day' + interval '4 minutes'),
           ('r', 'critical', 'late', now() - interval '1 day', true, 'a', now()),
           ('r', 'high', 'never', now() - interval '1 day', false, NULL, NULL),
           ('r', 'low', 'may wait', now() - interval '1 minute', false, NULL, NULL),
           ('r', 'info', 'nobody waits', now() - interval '1 day', false, NULL, NULL),
           ('r', 'high', 'long ago', now() - interval '100 days', false, NULL, NULL);
    INSERT INTO blueteam.security_incidents
        (title, severity, status, detected_by, detected_at, contained_at, closed_at, dfars_reportable, dfars_reported_at)
    VALUES ('contained', 'high', 'contained', 'r', now() - interval '2 days', now() - interval '47 hours', NULL, false, NULL),
           ('closed as a false alarm', 'high', 'closed', 'r', now() - interval '2 days', NULL, now() - interval '47 hours', false, NULL),
           ('too late', 'critical', 'contained', 'r', now() - interval '2 days', now() - interval '1 day', NULL, false, NULL),
           ('overdue', 'low', 'detected', 'r', now() - interval '4 days', NULL, NULL, true, NULL),
           ('reported', 'low', 'detected', 'r', now() - interval '4 days', NULL, NULL, true, now());";

#[tokio::test]
async fn work_counts_when_it_was_due_or_done_and_a_clock_until_it_is_reported() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, WORK).await;
    let now = SystemClock.now();
    let patience = |severity, alert, incident| Patience {
        severity,
        alert,
        incident,
    };
    let patience = [
        patience(Severity::Critical, Span::mins(5), Span::hours(4)),
        patience(Severity::High, Span::mins(15), Span::hours(24)),
        patience(Severity::Low, Span::hours(24), Span::days(14)),
    ];
    let since = now.minus(Span::days(90));
    let handled = posture::handled(&mut owner, since, now, &patience, 1)
        .await
        .unwrap();
    // Alerts: one of three in time; incidents: two of three.
    assert_eq!((handled.due, handled.in_time), (6, 3));
    assert_eq!(handled.overdue_clocks, 1);

    let period = posture::period(&mut owner, now.minus(Span::days(30)), now)
        .await
        .unwrap();
    assert_eq!((period.detected, period.closed, period.open), (5, 1, 4));
    assert_eq!(period.unreported, 1);
    assert_eq!(period.incidents[0].title, "too late", "the worst first");
    let alerts: Vec<_> = period
        .alerts
        .iter()
        .map(|of| (of.severity, of.alerts, of.acknowledged))
        .collect();
    assert_eq!(
        alerts,
        [
            (Severity::Critical, 2, 2),
            (Severity::High, 1, 0),
            (Severity::Low, 1, 0),
            (Severity::Info, 1, 0),
        ]
    );
}
