use model::{
    AlertId, Channel, ControlId, Detection, DetectionUpdate, Entity, EntityKind, EventId,
    Fingerprint, Phase, RuleId, Severity, Source, Span,
};
use sqlx::PgConnection;
use store::alerts::{self, AlertFilter, Applied};
use store::outbox::Wanted;
use testkit::TestDb;
use uuid::Uuid;

use crate::{at, count, id, person, sql};

pub(crate) fn change(
    n: u128,
    rule: &'static str,
    severity: Severity,
    phase: Phase,
    events: u64,
) -> DetectionUpdate {
    DetectionUpdate {
        opened: phase == Phase::Opened,
        phase,
        detection: Detection {
            rule_id: RuleId::builtin(rule),
            severity,
            title: format!("{rule} from 203.0.113.9"),
            description: "What happened.".to_owned(),
            entity: Entity {
                kind: EntityKind::Ip,
                value: "203.0.113.9".to_owned(),
            },
            entity_name: None,
            first_seen: at(0),
            last_seen: at(i64::try_from(events).unwrap()),
            event_count: events,
            event_ids: (0..events).map(|e| EventId(id(u128::from(e)))).collect(),
            nist_controls: vec![ControlId::known("3.1.8"), ControlId::known("3.14.6")],
            source: Source::AuditDb,
            cui_involved: false,
            tenant: None,
            fingerprint: Fingerprint(id(1_000_000 + n)),
            episode: 0,
        },
        events: Vec::new(),
    }
}

pub(crate) async fn apply(conn: &mut PgConnection, changes: &[DetectionUpdate]) -> Applied {
    testkit::apply_alerts(conn, changes, |alert| {
        if alert.severity >= Severity::High {
            vec![Channel::named("console"), Channel::named("webhook")]
        } else {
            vec![Channel::named("console")]
        }
        .into()
    })
    .await
}

#[tokio::test]
async fn a_detection_lives_and_a_replay_changes_nothing() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let life = [
        change(1, "brute_force", Severity::High, Phase::Opened, 6),
        change(1, "brute_force", Severity::High, Phase::Extended, 9),
        change(1, "brute_force", Severity::High, Phase::Closed, 9),
    ];
    let done = apply(&mut conn, &life[..1]).await;
    assert_eq!(
        (done.opened.len(), done.incidents.len(), done.deliveries),
        (1, 1, 2)
    );

    assert_eq!(
        alerts::open_detections(&mut conn).await.unwrap(),
        [life[0].detection.clone()]
    );
    assert_eq!(apply(&mut conn, &life[1..2]).await.updated, 1);
    assert_eq!(
        alerts::open_detections(&mut conn).await.unwrap(),
        [life[1].detection.clone()]
    );

    assert_eq!(apply(&mut conn, &life[2..]).await.updated, 1);
    let before = alerts::list(&mut conn, &AlertFilter::default(), 10)
        .await
        .unwrap();
    assert_eq!(
        (before.len(), before[0].event_count, before[0].last_seen),
        (1, 9, at(9))
    );

    assert!(before[0].incident_id.is_some());
    assert_eq!(
        apply(&mut conn, &life).await,
        Applied::default(),
        "a replay does nothing"
    );

    assert_eq!(
        alerts::list(&mut conn, &AlertFilter::default(), 10)
            .await
            .unwrap(),
        before
    );
    assert!(alerts::open_detections(&mut conn).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_attack_is_one_incident() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let mut cui = change(
        2,
        "credential_stuffing",
        Severity::Critical,
        Phase::Opened,
        12,
    );
    cui.detection.cui_involved = true;

    let done = apply(
        &mut conn,
        &[
            change(1, "brute_force", Severity::High, Phase::Opened, 6),
            cui,
            change(3, "rate_limit_surge", Severity::Medium, Phase::Opened, 60),
        ],
    )
    .await;
    assert_eq!((done.opened.len(), done.incidents.len()), (3, 1));

    let incidents = store::incidents::list(&mut conn, false, 10).await.unwrap();
    let i = &incidents[0];
    assert_eq!(
        (
            incidents.len(),
            i.severity,
            i.cui_involved,
            i.dfars_reportable,
            i.alerts
        ),
        (1, Severity::Critical, true, true, 2)
    );

    assert_eq!(
        (i.detected_by.as_str(), i.correlation_rule.as_deref()),
        ("correlation_rule", Some("credential_stuffing")),
        "the rule of its title, which is that of the worst alert"
    );

    // Another source is another attack; so is one after the incident was closed.
    let mut other = change(4, "brute_force", Severity::High, Phase::Opened, 6);
    other.detection.source = Source::Syslog;
    assert_eq!(apply(&mut conn, &[other]).await.incidents.len(), 1);
    sql(
        &mut db.connect_as("blueteam_admin").await,
        "SELECT blueteam.step_incident(incident_id, NULL, 'closed', 'it is over', 'guessing', 'none') \
            FROM blueteam.security_incidents",
    )
    .await;

    assert_eq!(
        apply(
            &mut conn,
            &[change(5, "brute_force", Severity::High, Phase::Opened, 6)]
        )
        .await
        .incidents
        .len(),
        1
    );

    // Extending an alert of a closed incident opens nothing.
    assert_eq!(
        apply(
            &mut conn,
            &[change(1, "brute_force", Severity::High, Phase::Extended, 7)]
        )
        .await
        .incidents
        .len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_make_one_of_each() {
    let db = TestDb::new().await;
    let mut tasks = Vec::new();
    for n in 0..4 {
        let mut conn = db.connect().await;
        tasks.push(tokio::spawn(async move {
            for round in 0..10 {
                apply(
                    &mut conn,
                    &[
                        change(round, "brute_force", Severity::High, Phase::Opened, 6),
                        change(
                            100 + n,
                            "credential_stuffing",
                            Severity::Critical,
                            Phase::Opened,
                            11,
                        ),
                    ],
                )
                .await;
            }
        }));
    }

    for task in tasks {
        task.await.unwrap();
    }

    let mut conn = db.connect().await;
    assert_eq!(count(&mut conn, "blueteam.security_incidents").await, 1);
    assert_eq!(count(&mut conn, "blueteam.alert_history").await, 14);
    assert_eq!(count(&mut conn, "blueteam.notifications").await, 28);
}

#[tokio::test]
async fn an_acknowledgment_is_kept_with_its_first_author() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    apply(
        &mut conn,
        &[change(1, "brute_force", Severity::High, Phase::Opened, 6)],
    )
    .await;

    let alert = AlertId(id(1_000_001));
    let mut admin = db.connect_as("blueteam_admin").await;
    assert!(
        alerts::ack(&mut admin, &person("alice"), alert)
            .await
            .unwrap()
    );
    assert!(
        alerts::ack(&mut admin, &person("bob"), alert)
            .await
            .unwrap()
    );
    assert!(
        !alerts::ack(&mut admin, &person("bob"), AlertId(Uuid::nil()))
            .await
            .unwrap()
    );

    let shown = alerts::show(&mut admin, alert).await.unwrap().unwrap();
    assert_eq!(shown.acknowledged_by.as_deref(), Some("alice"));
    let logged = "audit.audit_log WHERE actor = 'alice' AND resource_type = 'ALERT' AND new_value \
        ->> 'acknowledged' = 'true'";
    assert_eq!(count(&mut conn, logged).await, 1);
}

#[tokio::test]
async fn deliveries_are_lent_once_and_come_back() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    apply(
        &mut conn,
        &[change(1, "brute_force", Severity::High, Phase::Opened, 6)],
    )
    .await;

    let all = ["console", "webhook"].map(|name| Wanted::of(Channel::named(name), 10));
    let first = store::outbox::claim(&mut conn, &all, Span::mins(1))
        .await
        .unwrap();
    assert_eq!(first.len(), 2);
    assert_eq!(first[0].payload["rule_id"], "brute_force");

    assert!(
        store::outbox::claim(&mut conn, &all, Span::mins(1))
            .await
            .unwrap()
            .is_empty(),
        "lent out"
    );
    store::outbox::delivered(&mut conn, &[(first[0].delivery_id, "answered 204")])
        .await
        .unwrap();

    store::outbox::failed(&mut conn, &[(first[1].delivery_id, "refused", Span::ZERO)])
        .await
        .unwrap();
    let again = store::outbox::claim(&mut conn, &all, Span::ZERO)
        .await
        .unwrap();
    assert_eq!((again.len(), again[0].attempts), (1, 2));
    store::outbox::dead(&mut conn, &[(again[0].delivery_id, "given up")])
        .await
        .unwrap();

    let backlog = store::outbox::backlog(&mut conn).await.unwrap();
    assert_eq!((backlog.pending, backlog.dead), (0, 1));
    assert!(
        store::outbox::claim(&mut conn, &all, Span::ZERO)
            .await
            .unwrap()
            .is_empty()
    );

    // The ledger has all of it, and what was given up comes back when a person wants it.
    let mut admin = db.connect_as("blueteam_admin").await;
    let dead = store::deliveries::Filter {
        state: Some("dead".to_owned()),
        ..store::deliveries::Filter::default()
    };

    let given_up = store::deliveries::list(&mut admin, &dead, 10)
        .await
        .unwrap();
    assert_eq!(
        (given_up.len(), given_up[0].last_error.as_deref()),
        (1, Some("given up"))
    );

    assert_eq!(
        store::deliveries::resend(&mut admin, &person("alice"), None)
            .await
            .unwrap(),
        1
    );

    assert_eq!(
        store::deliveries::resend(&mut admin, &person("alice"), None)
            .await
            .unwrap(),
        0
    );

    let once_more = store::outbox::claim(&mut conn, &all, Span::mins(1))
        .await
        .unwrap();
    assert_eq!(
        (once_more[0].delivery_id, once_more[0].attempts),
        (given_up[0].delivery_id, 1)
    );

    let story = store::deliveries::attempts(&mut admin, given_up[0].delivery_id)
        .await
        .unwrap();
    let told: Vec<_> = story
        .iter()
        .map(|a| (a.attempt, a.outcome.as_str(), a.detail.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (1, "failed", "refused"),
            (2, "dead", "given up"),
            (0, "resent", "by alice")
        ]
    );

    for sql in [
        "UPDATE blueteam.notification_attempts SET detail = ''",
        "DELETE FROM blueteam.notification_attempts",
    ] {
        assert!(sqlx::query(sql).execute(&mut admin).await.is_err(), "{sql}");
        assert!(sqlx::query(sql).execute(&mut conn).await.is_err(), "{sql}");
    }
}

/// Another program at the same database may have the channel that this one has not.
#[tokio::test]
async fn what_one_cannot_send_waits_for_somebody_who_can() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    apply(
        &mut conn,
        &[change(1, "brute_force", Severity::High, Phase::Opened, 6)],
    )
    .await;

    let stranger = ["console", "webhook"].map(|name| Wanted {
        ours: false,
        ..Wanted::of(Channel::named(name), 10)
    });

    assert!(
        store::outbox::claim(&mut conn, &stranger, Span::ZERO)
            .await
            .unwrap()
            .is_empty()
    );

    let mut owner = db.connect().await;
    sqlx::query(
        "UPDATE blueteam.notifications SET created_at = created_at - interval '61 minutes'",
    )
    .execute(&mut owner)
    .await
    .unwrap();

    assert_eq!(
        store::outbox::claim(&mut conn, &stranger, Span::ZERO)
            .await
            .unwrap()
            .len(),
        2,
        "nobody can: it is said"
    );
}

#[tokio::test]
async fn a_pager_hears_that_an_alert_is_over_after_it_heard_of_it() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let say = async |conn: &mut PgConnection, phase| {
        let route =
            |_: &model::Alert| vec![Channel::named("pagerduty"), Channel::named("console")].into();
        let changes = [change(1, "brute_force", Severity::High, phase, 6)];
        testkit::apply_alerts(conn, &changes, route)
            .await
            .deliveries
    };

    assert_eq!(say(&mut conn, Phase::Opened).await, 2);
    assert_eq!(say(&mut conn, Phase::Closed).await, 1);
    assert_eq!(say(&mut conn, Phase::Closed).await, 0, "once");
    let kinds =
        |due: &[store::outbox::Delivery]| due.iter().map(|d| d.kind.clone()).collect::<Vec<_>>();
    let pager = [Wanted::of(Channel::named("pagerduty"), 10)];
    let first = store::outbox::claim(&mut conn, &pager, Span::ZERO)
        .await
        .unwrap();
    assert_eq!(kinds(&first), ["opened"], "the end waits for the beginning");

    store::outbox::delivered(&mut conn, &[(first[0].delivery_id, "answered 204")])
        .await
        .unwrap();
    assert_eq!(
        kinds(
            &store::outbox::claim(&mut conn, &pager, Span::ZERO)
                .await
                .unwrap()
        ),
        ["resolved"]
    );
}

/// Events `0..` of these tenants.
async fn events_of(conn: &mut PgConnection, tenants: &[Option<Uuid>]) {
    for (n, tenant) in (0_u128..).zip(tenants) {
        sqlx::query(
            "INSERT INTO public.audit_events (event_id, timestamp, category, action, \
            result, instance_id) VALUES ($1, to_timestamp($2), 'auth', 'login', 'failure', $3)",
        )
        .bind(id(n))
        .bind(at(i64::try_from(n).unwrap()).as_secs())
        .bind(tenant)
        .execute(&mut *conn)
        .await
        .unwrap();
    }
}

/// A change whose newest events are those.
pub(crate) fn of(
    n: u128,
    events: u64,
    rows: std::ops::Range<u128>,
    phase: Phase,
) -> DetectionUpdate {
    let mut change = change(n, "brute_force", Severity::Medium, phase, events);
    change.events = rows
        .map(|e| model::EventKey {
            timestamp: at(i64::try_from(e).unwrap()),
            event_id: EventId(id(e)),
        })
        .collect();
    change
}

/// What went where one tenant's alerts go is told where everybody's go, once it is another tenant's
/// too.
#[tokio::test]
async fn who_reads_for_all_is_told_once_an_alert_is_no_longer_one_tenants() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let (apollo, hermes) = (Uuid::from_u128(0xa), Uuid::from_u128(0xb));
    events_of(
        &mut conn,
        &[
            Some(apollo),
            Some(apollo),
            Some(hermes),
            Some(hermes),
            Some(apollo),
        ],
    )
    .await;

    let apply = async |conn: &mut PgConnection, change: DetectionUpdate| {
        let route = |a: &model::Alert| match a.tenant {
            Some(_) => vec![Channel::named("slack")].into(),
            None => vec![Channel::named("webhook"), Channel::named("slack")].into(),
        };
        testkit::apply_alerts(conn, &[change], route)
            .await
            .deliveries
    };

    assert_eq!(apply(&mut conn, of(1, 1, 0..1, Phase::Opened)).await, 1);
    assert_eq!(
        apply(&mut conn, of(1, 2, 1..2, Phase::Extended)).await,
        0,
        "the same tenant's"
    );
    assert_eq!(
        apply(&mut conn, of(1, 3, 2..3, Phase::Extended)).await,
        1,
        "another's too: the webhook, and Slack not again"
    );

    assert_eq!(apply(&mut conn, of(1, 4, 3..4, Phase::Extended)).await, 0);
    let told: Vec<String> =
        sqlx::query_scalar("SELECT channel FROM blueteam.notifications ORDER BY created_at")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    assert_eq!(told, ["slack", "webhook"]);

    // While a critical alert about the same entity keeps it quiet, it stays so.
    assert_eq!(apply(&mut conn, of(2, 1, 4..5, Phase::Opened)).await, 1);
    sql(
        &mut conn,
        "UPDATE blueteam.alert_history SET severity = 'critical' WHERE fingerprint = \
        (SELECT fingerprint FROM blueteam.alert_history ORDER BY created_at LIMIT 1)",
    )
    .await;
    assert_eq!(apply(&mut conn, of(2, 2, 2..3, Phase::Extended)).await, 0);
}

/// Whose an alert is: the tenant that all of its events name. One event of another or of none, and
/// it is nobody's.
#[tokio::test]
async fn an_alert_is_a_tenants_when_all_of_its_events_are() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let (apollo, hermes) = (Uuid::from_u128(0xa), Uuid::from_u128(0xb));
    let tenants = [Some(apollo), Some(apollo), None, Some(hermes), Some(apollo)];
    events_of(&mut conn, &tenants).await;

    apply(
        &mut conn,
        &[
            of(1, 2, 0..2, Phase::Opened),
            of(2, 2, 1..3, Phase::Opened),
            of(3, 2, 3..5, Phase::Opened),
        ],
    )
    .await;

    apply(&mut conn, &[of(4, 2, 0..0, Phase::Opened)]).await;
    let tenant = async |conn: &mut PgConnection, n: u128| {
        alerts::show(conn, AlertId(id(1_000_000 + n)))
            .await
            .unwrap()
            .unwrap()
            .tenant
    };

    for (n, expected) in [(1, Some(apollo)), (2, None), (3, None), (4, None)] {
        assert_eq!(tenant(&mut conn, n).await, expected, "{n}");
    }

    let filter = AlertFilter {
        tenant: Some(apollo),
        ..AlertFilter::default()
    };

    assert_eq!(alerts::list(&mut conn, &filter, 10).await.unwrap().len(), 1);
    assert_eq!(
        alerts::open_detections(&mut conn)
            .await
            .unwrap()
            .iter()
            .filter(|d| d.tenant == Some(apollo))
            .count(),
        1
    );

    // It grows: by one more of the tenant's, and by another's.
    apply(&mut conn, &[of(1, 3, 4..5, Phase::Extended)]).await;
    assert_eq!(tenant(&mut conn, 1).await, Some(apollo));
    apply(&mut conn, &[of(1, 4, 3..4, Phase::Closed)]).await;
    assert_eq!(tenant(&mut conn, 1).await, None);

    assert!(
        alerts::list(&mut conn, &filter, 10)
            .await
            .unwrap()
            .is_empty()
    );
}
