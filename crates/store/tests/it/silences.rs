use model::{
    Channel, Entity, EntityKind, Phase, RuleId, Severity, Silence, SilenceId, SilenceKind,
    SilenceScope, SilencedBy, Span,
};
use store::alerts::{self, AlertFilter, Applied, Route};
use store::silences;
use testkit::TestDb;

use crate::alerts::change;
use crate::{at, count, id, person};

fn silence(n: u128, rule: &'static str) -> Silence {
    Silence {
        mute_id: SilenceId(id(n)),
        kind: SilenceKind::Exception,
        scope: SilenceScope {
            rule_id: Some(RuleId::builtin(rule)),
            source: Some("audit_db".to_owned()),
            tenant: None,
            entity: Some("ip:203.0.113.0/24".parse().unwrap()),
        },
        author: "dana".to_owned(),
        reason: "the scanner that we hired".to_owned(),
        ticket: Some("SEC-12".to_owned()),
        starts_at: at(0),
        ends_at: at(86_400 * 300),
        ended_by: None,
    }
}

#[tokio::test]
async fn a_mute_is_kept_as_it_was_made_and_ended_once() {
    let db = TestDb::new().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let before = silences::stamp(&mut admin).await.unwrap();
    let long = Silence {
        starts_at: at(0),
        ..silence(1, "brute_force")
    };

    silences::add(&mut admin, &person("dana"), &long)
        .await
        .unwrap();
    assert_eq!(
        silences::ending_after(&mut admin, at(10)).await.unwrap(),
        std::slice::from_ref(&long)
    );
    assert!(
        silences::end(&mut admin, &person("bob"), long.mute_id, at(50))
            .await
            .unwrap()
    );

    assert!(
        !silences::end(&mut admin, &person("bob"), long.mute_id, at(40))
            .await
            .unwrap(),
        "only once"
    );

    assert!(
        silences::ending_after(&mut admin, at(50))
            .await
            .unwrap()
            .is_empty()
    );

    let ended = &silences::ending_after(&mut admin, at(49)).await.unwrap()[0];
    assert_eq!(
        (ended.ends_at, ended.ended_by.as_deref()),
        (at(50), Some("bob"))
    );

    let of_tenant = SilenceScope {
        rule_id: None,
        source: None,
        tenant: Some(id(7)),
        entity: None,
    };

    let tenant = Silence {
        scope: of_tenant,
        kind: SilenceKind::Maintenance,
        starts_at: at(0),
        ..silence(3, "brute_force")
    };

    silences::add(&mut admin, &person("dana"), &tenant)
        .await
        .unwrap();
    assert_eq!(
        silences::ending_after(&mut admin, at(50)).await.unwrap(),
        [tenant]
    );

    let current = Silence {
        starts_at: model::Clock::now(&model::SystemClock),
        ..silence(2, "brute_force")
    };

    silences::add(
        &mut admin,
        &person("dana"),
        &Silence {
            ends_at: current.starts_at.plus(Span::hours(1)),
            ..current
        },
    )
    .await
    .unwrap();

    let added = silences::stamp(&mut admin).await.unwrap();
    assert_ne!(before, added);
    let logged = "audit.audit_log WHERE actor = 'dana' AND resource_type = 'ALERT_RULE' AND \
        new_value ->> 'reason' LIKE 'the scanner%'";
    assert_eq!(count(&mut db.connect().await, logged).await, 3);
}

#[tokio::test]
async fn the_table_refuses_what_would_hide_too_much() {
    let db = TestDb::new().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let good = silence(1, "brute_force");
    let everything = SilenceScope {
        rule_id: None,
        source: None,
        tenant: None,
        entity: None,
    };

    let no_rule = SilenceScope {
        rule_id: None,
        ..good.scope.clone()
    };

    for bad in [
        Silence {
            scope: everything,
            kind: SilenceKind::Silence,
            ..good.clone()
        },
        Silence {
            scope: no_rule,
            ..good.clone()
        },
        Silence {
            reason: "  ".to_owned(),
            ..good.clone()
        },
        Silence {
            ends_at: at(86_400 * 367),
            ..good.clone()
        },
        Silence {
            ends_at: at(0),
            ..good.clone()
        },
    ] {
        assert!(
            silences::add(&mut admin, &person("dana"), &bad)
                .await
                .is_err(),
            "{bad:?}"
        );
    }

    silences::add(&mut admin, &person("dana"), &good)
        .await
        .unwrap();
    for sql in [
        "UPDATE blueteam.silences SET reason = 'another one'",
        "UPDATE blueteam.silences SET ends_at = ends_at + interval '1 day', ended_by = 'eve'",
        "UPDATE blueteam.silences SET ends_at = ends_at - interval '1 day'",
        "DELETE FROM blueteam.silences",
    ] {
        assert!(sqlx::query(sql).execute(&mut admin).await.is_err(), "{sql}");
    }

    for role in ["blueteam_engine", "blueteam_reader", "blueteam_ingest"] {
        let mut conn = db.connect_as(role).await;
        assert!(
            silences::add(&mut conn, &person("dana"), &silence(2, "brute_force"))
                .await
                .is_err(),
            "{role}"
        );
    }
}

async fn apply(
    conn: &mut sqlx::PgConnection,
    changes: &[model::DetectionUpdate],
    muted_by: Option<SilenceId>,
) -> Applied {
    let route = |_: &model::Alert| Route {
        channels: vec![Channel::named("console")],
        muted_by,
        most: None,
    };

    testkit::apply_alerts(conn, changes, route).await
}

#[tokio::test]
async fn a_muted_alert_is_stored_with_its_incident_and_what_muted_it() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let by = silence(1, "brute_force");
    silences::add(
        &mut db.connect_as("blueteam_admin").await,
        &person("dana"),
        &by,
    )
    .await
    .unwrap();

    let attack = change(1, "brute_force", Severity::High, Phase::Opened, 6);
    let done = apply(&mut engine, &[attack], Some(by.mute_id)).await;
    assert_eq!(
        (done.opened.len(), done.incidents.len(), done.deliveries),
        (1, 1, 0)
    );

    let silenced = AlertFilter {
        silenced: Some(true),
        ..AlertFilter::default()
    };

    let alert = &alerts::list(&mut engine, &silenced, 10).await.unwrap()[0];
    assert_eq!(alert.muted_by, Some(SilencedBy::Silence(by.mute_id)));
    assert_eq!(
        silences::muted_alerts(&mut engine, by.mute_id)
            .await
            .unwrap(),
        1
    );

    let told = AlertFilter {
        silenced: Some(false),
        ..AlertFilter::default()
    };

    assert!(
        alerts::list(&mut engine, &told, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Muted as long as a silence covers it: what goes on beyond it is told, once.
#[tokio::test]
async fn a_muted_alert_that_outgrows_its_mute_is_told() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let by = silence(1, "brute_force");
    silences::add(
        &mut db.connect_as("blueteam_admin").await,
        &person("dana"),
        &by,
    )
    .await
    .unwrap();

    let grown = |phase, events| [change(1, "brute_force", Severity::High, phase, events)];
    assert_eq!(
        apply(&mut engine, &grown(Phase::Opened, 6), Some(by.mute_id))
            .await
            .deliveries,
        0
    );

    assert_eq!(
        apply(&mut engine, &grown(Phase::Extended, 7), Some(by.mute_id))
            .await
            .deliveries,
        0,
        "covered still"
    );

    assert_eq!(
        apply(&mut engine, &grown(Phase::Extended, 9), None)
            .await
            .deliveries,
        1
    );

    assert_eq!(
        apply(&mut engine, &grown(Phase::Extended, 12), None)
            .await
            .deliveries,
        0,
        "told already"
    );

    let silenced = AlertFilter {
        silenced: Some(true),
        ..AlertFilter::default()
    };

    assert!(
        alerts::list(&mut engine, &silenced, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_critical_keeps_the_mediums_of_its_entity_quiet_and_nothing_else() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let critical = |phase| change(1, "credential_stuffing", Severity::Critical, phase, 12);
    let medium = |n| change(n, "rate_limit_surge", Severity::Medium, Phase::Opened, 60);
    assert_eq!(
        apply(&mut engine, &[medium(2)], None).await.deliveries,
        1,
        "nothing critical yet"
    );

    assert_eq!(
        apply(&mut engine, &[critical(Phase::Opened)], None)
            .await
            .deliveries,
        1
    );
    assert_eq!(apply(&mut engine, &[medium(3)], None).await.deliveries, 0);

    assert_eq!(
        apply(
            &mut engine,
            &[change(4, "brute_force", Severity::High, Phase::Opened, 6)],
            None
        )
        .await
        .deliveries,
        1
    );

    let mut stranger = medium(5);
    stranger.detection.entity = Entity {
        kind: EntityKind::Ip,
        value: "198.51.100.1".to_owned(),
    };

    assert_eq!(apply(&mut engine, &[stranger], None).await.deliveries, 1);
    let silenced = AlertFilter {
        silenced: Some(true),
        ..AlertFilter::default()
    };

    let quiet = alerts::list(&mut engine, &silenced, 10).await.unwrap();
    assert_eq!(quiet.len(), 1);
    assert_eq!(
        quiet[0].muted_by,
        Some(SilencedBy::Alert(model::AlertId(id(1_000_001))))
    );
    apply(&mut engine, &[critical(Phase::Closed)], None).await;
    assert_eq!(
        apply(&mut engine, &[medium(6)], None).await.deliveries,
        1,
        "it is over"
    );
}

/// One transaction may hold any number of changes: a storm, or what was read after a restart.
#[tokio::test]
async fn what_inhibits_an_alert_does_not_depend_on_how_changes_are_batched() {
    let medium = |n| change(n, "rate_limit_surge", Severity::Medium, Phase::Opened, 60);
    let critical = |phase, events| {
        let mut change = change(1, "credential_stuffing", Severity::Critical, phase, events);
        change.opened = phase == Phase::Opened;
        change
    };
    let story = [
        medium(2),
        critical(Phase::Opened, 12),
        medium(3),
        critical(Phase::Extended, 13),
        medium(4),
        critical(Phase::Closed, 13),
        medium(5),
        critical(Phase::Extended, 14),
        medium(6),
    ];

    let quiet = async |batches: &[&[model::DetectionUpdate]], silenced: bool| {
        let db = TestDb::new().await;
        let mut engine = db.connect_as("blueteam_engine").await;
        let by = silence(1, "credential_stuffing");
        silences::add(
            &mut db.connect_as("blueteam_admin").await,
            &person("dana"),
            &by,
        )
        .await
        .unwrap();

        for changes in batches {
            let route = |alert: &model::Alert| Route {
                channels: vec![Channel::named("console")],
                muted_by: (silenced && alert.severity == Severity::Critical).then_some(by.mute_id),
                most: None,
            };
            testkit::apply_alerts(&mut engine, changes, route).await;
        }

        let silenced = AlertFilter {
            silenced: Some(true),
            severity: Some(Severity::Medium),
            ..AlertFilter::default()
        };
        let mut quiet: Vec<u128> = alerts::list(&mut engine, &silenced, 10)
            .await
            .unwrap()
            .iter()
            .filter(|alert| alert.severity == Severity::Medium)
            .map(|alert| alert.alert_id.0.as_u128() - id(1_000_000).as_u128())
            .collect();
        quiet.sort_unstable();
        quiet
    };

    let one_by_one: Vec<&[model::DetectionUpdate]> = story.chunks(1).collect();
    let in_pairs: Vec<&[model::DetectionUpdate]> = story.chunks(2).collect();
    assert_eq!(quiet(&one_by_one, false).await, [3, 4, 6]);
    assert_eq!(quiet(&in_pairs, false).await, [3, 4, 6]);
    assert_eq!(
        quiet(&[&story[..3], &story[3..6], &story[6..]], false).await,
        [3, 4, 6]
    );
    assert_eq!(quiet(&one_by_one, true).await, []);
    assert_eq!(quiet(&in_pairs, true).await, []);
}
