//! What comes in, is found and is decided for one tenant, beside another's (decision 0054).

use model::{Clock as _, Finding, Phase, Severity, Source, SystemClock, TenantId};
use sqlx::Connection as _;
use store::compliance::{self, NewDecision};
use store::events::{Claim, insert_audit, insert_audit_parts};
use store::sources::{self, Cause, DeadLetter, Gap, Intake};
use testkit::TestDb;

use crate::alerts::{apply, change};
use crate::compliance::{ENTRIES, OBJECTIVES, decided, met};
use crate::tenants::{ADD_OTHER, DEFAULT, OTHER, act_for, two_tenants};
use crate::{at, count, logins, person, sql, try_sql};

fn tenant(text: &str) -> TenantId {
    TenantId(text.parse().unwrap())
}

/// Whoever sends another tenant's event first, with its id and its time, must not keep it out, nor
/// learn from the answer that it is there.
#[tokio::test]
async fn nobody_takes_the_id_of_another_tenants_event() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    let mut writer = db.connect_as("blueteam_ingest").await;
    let of = |text: &str, ids: std::ops::Range<u128>, claim: Option<Claim>| -> Vec<_> {
        let owned = logins(ids).into_iter();
        owned
            .map(|row| row.of_tenant(tenant(text)).claiming(claim))
            .collect()
    };

    // The same ids at the same times, by COPY, carefully, and both in one group.
    let ours = of(OTHER, 0..30, None);
    assert_eq!(insert_audit(&mut writer, &ours).await.unwrap().accepted, 30);
    let group = [of(DEFAULT, 0..40, None), of(OTHER, 20..40, None)].concat();
    let done = insert_audit_parts(&mut writer, &group, &[40, 60])
        .await
        .unwrap();
    assert_eq!((done[0].accepted, done[0].duplicates), (40, 0));
    assert_eq!((done[1].accepted, done[1].duplicates), (10, 10));

    // A retry is known, whoever sends it.
    for (text, events) in [(DEFAULT, 40), (OTHER, 40)] {
        let again = insert_audit(&mut writer, &of(text, 0..40, None))
            .await
            .unwrap();
        assert_eq!((again.accepted, again.duplicates), (0, 40), "{text}");
        let rows = format!("public.audit_events WHERE tenant_id = '{text}'");
        assert_eq!(count(&mut owner, &rows).await, events, "{text}");
    }

    // What one says of the time of an event says nothing of another's: both have their own arrival.
    for (text, ids) in [(OTHER, 50..51), (DEFAULT, 50..51)] {
        let rows = of(text, ids, Some(Claim::NoTime));
        assert_eq!(insert_audit(&mut writer, &rows).await.unwrap().accepted, 1);
    }
}

/// No writer says whose its event is; a key does, in the one role that takes keys.
#[tokio::test]
async fn whose_an_event_is_no_writer_says() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    let text = format!(
        "INSERT INTO audit_events (category, action, result, tenant_id)
         VALUES ('auth', 'login', 'success', '{OTHER}')"
    );
    let mut writer = db.connect_as("eqmon_audit_writer").await;
    let error = try_sql(&mut writer, &text).await.unwrap_err().to_string();
    assert!(error.contains("permission denied"), "{error}");

    // A setting that a client makes is not heard either.
    act_for(&mut writer, OTHER).await;
    sql(
        &mut writer,
        "INSERT INTO audit_events (category, action, result) VALUES ('auth', 'x', 'success')",
    )
    .await;
    let theirs = format!("public.audit_events WHERE tenant_id = '{OTHER}'");
    assert_eq!(count(&mut owner, &theirs).await, 0);
}

#[tokio::test]
async fn two_tenants_may_have_a_source_of_one_name() {
    const NAME: &str = "producer:eqmon";
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    let mut conn = db.connect_as("blueteam_engine").await;
    for (at_all, text) in [(3, DEFAULT), (5, OTHER)] {
        store::tenants::act_for(&mut conn, tenant(text))
            .await
            .unwrap();
        let intake = Intake {
            accepted: at_all,
            rejected: 1,
            ..Intake::default()
        };
        sources::declare(&mut conn, NAME, Source::AuditDb, None)
            .await
            .unwrap();
        sources::book(&mut conn, NAME, Source::AuditDb, &intake, at(1))
            .await
            .unwrap();
        let letter = DeadLetter {
            place: text.to_owned(),
            reason: "x".to_owned(),
            entry: b"x".to_vec(),
            length: 1,
        };
        sources::bury(&mut conn, NAME, &[letter], at(1))
            .await
            .unwrap();
        let gap = Gap {
            cause: Cause::Silence,
            started_at: at(2),
            ended_at: None,
            lost: None,
            detail: text.to_owned(),
        };
        sources::note_gap(&mut conn, NAME, &gap).await.unwrap();
    }

    // One speaks again, and the other stays silent.
    assert!(sources::end_silence(&mut conn, NAME, at(9)).await.unwrap());
    for (accepted, text, is_silent) in [(3, DEFAULT, true), (5, OTHER, false)] {
        store::tenants::act_for(&mut conn, tenant(text))
            .await
            .unwrap();
        let row = sources::find(&mut conn, NAME).await.unwrap().unwrap();
        assert_eq!(row.accepted, accepted);
        assert_eq!(row.silent_since.is_some(), is_silent, "{text}");
        let gaps = sources::gaps(&mut conn, NAME, 9).await.unwrap();
        assert_eq!((gaps.len(), gaps[0].detail.as_str()), (1, text));
        let letters = sources::dead_letters(&mut conn, Some(NAME), 9)
            .await
            .unwrap();
        assert_eq!((letters.len(), letters[0].letter.place.as_str()), (1, text));
    }
}

/// A key is its owner's tenant's, and reserves the name of its service in that tenant alone.
#[tokio::test]
async fn a_key_speaks_for_its_tenant() {
    let db = TestDb::new().await;
    let mut owner = two_tenants(&db).await;
    for (name, text, hash, service) in [
        ("own", DEFAULT, "aa", "'eqmon'"),
        ("other", OTHER, "bb", "NULL"),
        // A key that was made as another tenant's than its owner's counts for nothing.
        ("own", OTHER, "cc", "NULL"),
    ] {
        let statement = format!(
            "INSERT INTO users.api_keys
                 (user_id, key_name, key_prefix, key_hash, scopes, service, tenant_id)
             SELECT user_id, '{name}', 'bt_aaaa', '{hash}', '{{events:write}}', {service}, '{text}'
             FROM users.users WHERE username = '{name}'"
        );
        sql(&mut owner, &statement).await;
    }

    let mut conn = db.connect_as("blueteam_ingest").await;
    let found = store::keys::authenticate(&mut conn, "bb")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.tenant, found.reserved), (tenant(OTHER), Vec::new()));
    assert!(
        store::keys::authenticate(&mut conn, "cc")
            .await
            .unwrap()
            .is_none()
    );

    let all = store::keys::in_force(&mut conn, 9).await.unwrap();
    let whose: Vec<_> = all
        .iter()
        .map(|(hash, info)| (&**hash, info.tenant))
        .collect();
    assert_eq!(whose.len(), 2);
    assert!(whose.contains(&("aa", TenantId::DEFAULT)) && whose.contains(&("bb", tenant(OTHER))));
}

/// Alerts, incidents, what keeps alerts quiet, and the record of all that.
#[tokio::test]
async fn the_same_attack_against_two_tenants_is_two() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let opened = |n, severity| [change(n, "brute_force", severity, Phase::Opened, 6)];
    for (n, text) in [(1, DEFAULT), (2, OTHER)] {
        act_for(&mut engine, text).await;
        let applied = apply(&mut engine, &opened(n, Severity::High)).await;
        assert_eq!(
            (applied.opened.len(), applied.incidents.len()),
            (1, 1),
            "{text}"
        );
        let open = store::alerts::open_detections(&mut engine).await.unwrap();
        assert_eq!(open.len(), 1, "{text}");
    }

    // A critical alert keeps what is less quiet, in its own tenant.
    act_for(&mut engine, DEFAULT).await;
    apply(&mut engine, &opened(3, Severity::Critical)).await;
    for (n, text, told) in [(4, DEFAULT, 0), (5, OTHER, 1)] {
        act_for(&mut engine, text).await;
        let applied = apply(&mut engine, &opened(n, Severity::Medium)).await;
        assert_eq!(applied.deliveries, told, "{text}");
    }

    // What is another tenant's is not written, whatever the engine says.
    let stolen = [change(
        1,
        "brute_force",
        Severity::High,
        Phase::Extended,
        99,
    )];
    let applied = apply(&mut engine, &stolen).await;
    assert_eq!(applied.pending.len(), 1);
    assert!(applied.pending[0].reason.contains("another tenant"));
    assert_eq!(
        count(&mut owner, "blueteam.alert_history WHERE event_count = 99").await,
        0
    );

    for (text, alerts, incidents) in [(DEFAULT, 3, 1), (OTHER, 2, 1)] {
        for (table, rows) in [
            ("blueteam.alert_history", alerts),
            ("blueteam.security_incidents", incidents),
        ] {
            let own = format!("{table} WHERE tenant_id = '{text}'");
            assert_eq!(count(&mut owner, &own).await, rows, "{own}");
        }
        let strange = format!(
            "audit.audit_log
             WHERE new_value ->> 'tenant_id' = '{text}' AND tenant_id <> '{text}'"
        );
        assert_eq!(count(&mut owner, &strange).await, 0);
        let strange = format!(
            "blueteam.notifications n JOIN blueteam.alert_history a USING (alert_id)
             WHERE a.tenant_id = '{text}' AND n.tenant_id <> '{text}'"
        );
        assert_eq!(count(&mut owner, &strange).await, 0);
    }

    // A change made by who works for no tenant is recorded as its row's.
    sql(
        &mut owner,
        "UPDATE users.tenants SET title = 'Other' WHERE name = 'other'",
    )
    .await;
    let recorded =
        format!("audit.audit_log WHERE tenant_id = '{OTHER}' AND resource_type = 'SYSTEM'");
    assert!(count(&mut owner, &recorded).await > 0);
}

#[tokio::test]
async fn what_is_learned_of_a_tenants_users_is_its_own() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let baseline = |n: u64| store::baselines::Baseline {
        source: Source::AuditDb,
        user_key: "ann".to_owned(),
        profile: serde_json::json!({ "n": n }),
    };
    for (n, text) in [(1, DEFAULT), (2, OTHER)] {
        act_for(&mut engine, text).await;
        store::baselines::save(&mut engine, &[baseline(n)])
            .await
            .unwrap();
    }
    for (n, text) in [(1, DEFAULT), (2, OTHER)] {
        act_for(&mut engine, text).await;
        let own = store::baselines::load(&mut engine).await.unwrap();
        assert_eq!(own, [baseline(n)], "{text}");
    }
}

/// What is decided, numbered, named and sent for one tenant leaves another's record as it is.
#[tokio::test]
async fn each_tenant_has_its_own_record() {
    let db = decided().await;
    let mut owner = db.connect().await;
    sql(&mut owner, ADD_OTHER).await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let now = SystemClock.now();

    act_for(&mut admin, OTHER).await;
    assert!(compliance::all(&mut admin, now).await.unwrap().is_empty());
    let who = person("blueteam");
    let written = compliance::load(&mut admin, &who, &ENTRIES, &OBJECTIVES).await;
    assert_eq!(written.unwrap(), 5, "its record begins");
    let not_met = NewDecision {
        finding: Some(Finding::NotMet),
        ..met("3.3.1[a]")
    };
    compliance::decide(&mut admin, &person("eve"), now, &[not_met])
        .await
        .unwrap();

    for text in [DEFAULT, OTHER] {
        act_for(&mut admin, text).await;
        sql(
            &mut admin,
            "INSERT INTO blueteam.poam_items
                 (control_id, weakness_description, risk_level, remediation_plan)
             VALUES ('3.3.1', 'x', 'high', 'x')",
        )
        .await;
        let asset = store::assets::Asset {
            name: "web".to_owned(),
            category: "cui".to_owned(),
            owner: Some(text.to_owned()),
            description: None,
            treatment: None,
        };
        store::assets::save(&mut admin, &person("eve"), &asset)
            .await
            .unwrap();
    }

    for (text, status, decisions) in [(DEFAULT, "implemented", 2), (OTHER, "planned", 1)] {
        for (rows, expected) in [
            (
                format!(
                    "blueteam.compliance_controls WHERE control_id = '3.3.1' AND status = '{status}'"
                ),
                1,
            ),
            (
                "blueteam.compliance_objectives WHERE finding <> 'not_assessed'".to_owned(),
                decisions,
            ),
            (
                "blueteam.objective_history WHERE true".to_owned(),
                decisions,
            ),
            (
                "blueteam.poam_items WHERE item_number LIKE 'POAM-%-001'".to_owned(),
                1,
            ),
            (
                format!("blueteam.assets WHERE name = 'web' AND owner = '{text}'"),
                1,
            ),
        ] {
            let own = format!("{rows} AND tenant_id = '{text}'");
            assert_eq!(count(&mut owner, &own).await, expected, "{own}");
        }
        // Also for who works for all tenants.
        let mut engine = db.connect_as("blueteam_engine").await;
        act_for(&mut engine, text).await;
        assert_eq!(compliance::all(&mut engine, now).await.unwrap().len(), 2);
        assert_eq!(store::plans::list(&mut engine).await.unwrap().len(), 1);
    }

    // One tenant's reminder is not the other's.
    let mut engine = db.connect_as("blueteam_engine").await;
    let keys = ["late".to_owned()];
    for text in [DEFAULT, OTHER] {
        act_for(&mut engine, text).await;
        let mut tx = engine.begin().await.unwrap();
        let unsaid = store::notices::unsaid(&mut tx, "reminder", &keys)
            .await
            .unwrap();
        assert_eq!(unsaid, keys, "{text}");
        sqlx::query(
            "INSERT INTO blueteam.scheduled_notifications (kind, key) VALUES ('reminder', 'late')",
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }
}
