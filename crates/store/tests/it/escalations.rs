use model::{AlertId, AlertState, Channel, Phase, Severity, Span};
use sqlx::PgConnection;
use store::{alerts, escalations, outbox};
use testkit::TestDb;

use crate::alerts::change;
use crate::{count, person, sql};

const PATIENCE: [(Severity, Span); 2] = [
    (Severity::Critical, Span::mins(5)),
    (Severity::High, Span::mins(15)),
];

/// The ids of the alerts that are due, and their tiers.
async fn due(conn: &mut PgConnection, tiers: u16) -> Vec<(AlertId, u16)> {
    let due = escalations::due(conn, &PATIENCE, tiers).await.unwrap();
    due.into_iter()
        .map(|due| (due.alert.alert_id, due.tier))
        .collect()
}

async fn escalate(
    conn: &mut PgConnection,
    due: &escalations::Due,
    people: &[String],
    channels: &[Channel],
) -> bool {
    let traits = testkit::channel_traits();
    escalations::escalate(conn, due, people, channels, &traits)
        .await
        .unwrap()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn what_nobody_acknowledged_goes_from_tier_to_tier() {
    let db = TestDb::new().await;
    let (mut conn, mut owner) = (db.connect_as("blueteam_engine").await, db.connect().await);

    // The fourth was told to nobody, the third may wait for ever.
    let changes = [
        change(1, "brute_force", Severity::High, Phase::Opened, 6),
        change(
            2,
            "credential_stuffing",
            Severity::Critical,
            Phase::Opened,
            6,
        ),
        change(3, "after_hours", Severity::Medium, Phase::Opened, 6),
        change(4, "session_anomaly", Severity::High, Phase::Opened, 6),
    ];

    let silent = AlertId(changes[3].detection.fingerprint.0);
    let route = |a: &model::Alert| {
        if a.alert_id == silent {
            vec![]
        } else {
            vec![Channel::named("console")]
        }
        .into()
    };

    testkit::apply_alerts(&mut conn, &changes, route).await;
    let [high, critical] = [0, 1].map(|n: usize| AlertId(changes[n].detection.fingerprint.0));

    assert_eq!(due(&mut conn, 2).await, [], "all of them are new");
    let age = async |owner: &mut PgConnection, mins: i32| {
        sql(
            owner,
            &format!(
                "UPDATE blueteam.alert_history SET created_at = now() - interval '{mins} minutes'"
            ),
        )
        .await;
    };

    age(&mut owner, 6).await;
    assert_eq!(due(&mut conn, 2).await, [(critical, 1)]);
    assert_eq!(due(&mut conn, 0).await, []);
    let found = escalations::due(&mut conn, &PATIENCE, 2).await.unwrap();
    let people = ["Ann".to_owned()];
    assert!(escalate(&mut conn, &found[0], &people, &[Channel::named("email")]).await);

    assert!(
        !escalate(&mut conn, &found[0], &people, &[Channel::named("email")]).await,
        "only once"
    );

    let mail = outbox::claim(
        &mut conn,
        &[outbox::Wanted::of(Channel::named("email"), 10)],
        Span::mins(2),
    )
    .await
    .unwrap();
    assert_eq!(
        (mail.len(), mail[0].kind.as_str(), mail[0].people.as_slice()),
        (1, "escalated", people.as_slice())
    );

    assert_eq!(
        due(&mut conn, 2).await,
        [],
        "its next tier has not waited yet"
    );

    // As if it had been told six minutes ago.
    sql(
        &mut owner,
        "ALTER TABLE blueteam.escalations DISABLE TRIGGER append_only",
    )
    .await;
    sql(
        &mut owner,
        "UPDATE blueteam.escalations SET at = now() - interval '6 minutes'",
    )
    .await;

    sql(
        &mut owner,
        "ALTER TABLE blueteam.escalations ENABLE ALWAYS TRIGGER append_only",
    )
    .await;
    assert_eq!(due(&mut conn, 1).await, [], "there is no second tier");
    age(&mut owner, 16).await;

    let mut both = due(&mut conn, 2).await;
    both.sort();
    let mut expected = [(critical, 2), (high, 1)];
    expected.sort();
    assert_eq!(both, expected);

    alerts::ack(
        &mut db.connect_as("blueteam_admin").await,
        &person("ann"),
        critical,
    )
    .await
    .unwrap();
    assert_eq!(
        due(&mut conn, 2).await,
        [(high, 1)],
        "somebody has seen the other"
    );

    age(&mut owner, 60 * 24 + 31).await;
    assert_eq!(due(&mut conn, 2).await, [], "old news");
    assert_eq!(
        escalations::of_alert(&mut conn, critical).await.unwrap()[0].people,
        people
    );
}

#[tokio::test]
async fn what_was_told_stays_on_record() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let changes = [change(1, "brute_force", Severity::High, Phase::Opened, 6)];
    testkit::apply_alerts(&mut conn, &changes, |_| {
        vec![Channel::named("console")].into()
    })
    .await;

    let alert = alerts::show(&mut conn, AlertId(changes[0].detection.fingerprint.0))
        .await
        .unwrap()
        .unwrap();
    let due = escalations::Due { alert, tier: 1 };
    escalate(&mut conn, &due, &[], &[Channel::named("console")]).await;

    for role in ["blueteam_engine", "blueteam_admin", "blueteam_reader"] {
        let mut conn = db.connect_as(role).await;
        for text in [
            "UPDATE blueteam.escalations SET people = '{}'",
            "DELETE FROM blueteam.escalations",
        ] {
            assert!(
                crate::try_sql(&mut conn, text).await.is_err(),
                "{role}: {text}"
            );
        }
    }

    assert!(
        crate::try_sql(&mut db.connect().await, "DELETE FROM blueteam.escalations")
            .await
            .is_err()
    );
    assert_eq!(count(&mut conn, "blueteam.escalations").await, 1);
}

#[tokio::test]
async fn what_is_over_is_not_opened_again_where_nobody_would_close_it() {
    let db = TestDb::new().await;
    let mut conn = db.connect_as("blueteam_engine").await;
    let changes = [change(
        9,
        "credential_stuffing",
        Severity::Critical,
        Phase::Opened,
        6,
    )];
    testkit::apply_alerts(&mut conn, &changes, |_| {
        vec![Channel::named("console")].into()
    })
    .await;

    let alert = alerts::show(&mut conn, AlertId(changes[0].detection.fingerprint.0))
        .await
        .unwrap()
        .unwrap();
    let due = |tier, state| escalations::Due {
        alert: model::Alert {
            state,
            ..alert.clone()
        },
        tier,
    };

    let channels = [Channel::named("email"), Channel::named("pagerduty")];
    assert!(escalate(&mut conn, &due(1, AlertState::Closed), &[], &channels).await);

    assert_eq!(
        outbox::claim(
            &mut conn,
            &[outbox::Wanted::of(Channel::named("pagerduty"), 9)],
            Span::mins(2)
        )
        .await
        .unwrap(),
        []
    );

    assert_eq!(
        outbox::claim(
            &mut conn,
            &[outbox::Wanted::of(Channel::named("email"), 9)],
            Span::mins(2)
        )
        .await
        .unwrap()
        .len(),
        1
    );

    assert!(
        escalate(&mut conn, &due(2, AlertState::Closed), &[], &channels[1..]).await,
        "noted"
    );

    // One that is open is told, and by that way hears of its end, after it was told.
    assert!(escalate(&mut conn, &due(3, AlertState::Open), &[], &channels[1..]).await);

    let closed = [change(
        9,
        "credential_stuffing",
        Severity::Critical,
        Phase::Closed,
        6,
    )];
    testkit::apply_alerts(&mut conn, &closed, |_| vec![].into()).await;

    let first = outbox::claim(
        &mut conn,
        &[outbox::Wanted::of(Channel::named("pagerduty"), 9)],
        Span::mins(2),
    )
    .await
    .unwrap();
    assert_eq!(
        first.iter().map(|d| d.kind.as_str()).collect::<Vec<_>>(),
        ["escalated"]
    );

    outbox::delivered(&mut conn, &[(first[0].delivery_id, "ok")])
        .await
        .unwrap();
    let then = outbox::claim(
        &mut conn,
        &[outbox::Wanted::of(Channel::named("pagerduty"), 9)],
        Span::mins(2),
    )
    .await
    .unwrap();

    assert_eq!(
        then.iter().map(|d| d.kind.as_str()).collect::<Vec<_>>(),
        ["resolved"]
    );
}

/// Whoever answered an advisory has seen its alert, which the answer closes.
#[tokio::test]
async fn the_alert_of_an_answered_advisory_is_not_escalated() {
    let db = TestDb::new().await;
    let (mut conn, mut owner) = (db.connect_as("blueteam_engine").await, db.connect().await);
    let changes = [
        change(1, "advisory", Severity::Critical, Phase::Opened, 1),
        change(2, "brute_force", Severity::Critical, Phase::Opened, 6),
    ];
    let route = |_: &model::Alert| vec![Channel::named("console")].into();
    testkit::apply_alerts(&mut conn, &changes, route).await;
    let [advisory, other] = [0, 1].map(|n: usize| AlertId(changes[n].detection.fingerprint.0));

    let age = "UPDATE blueteam.alert_history SET created_at = now() - interval '6 minutes'";
    sql(&mut owner, age).await;
    let mut all = due(&mut conn, 1).await;
    all.sort_by_key(|(alert, _)| *alert != advisory);
    assert_eq!(all, [(advisory, 1), (other, 1)]);

    let close = "UPDATE blueteam.alert_history SET state = 'closed'";
    sql(&mut owner, close).await;
    assert_eq!(due(&mut conn, 1).await, [(other, 1)]);
}
