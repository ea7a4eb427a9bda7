use model::{
    Clock as _, ControlId, Evidence, EvidenceId, EvidenceKind, EvidenceType, Finding, Method,
    ObjectiveId, Span, Standing, SystemClock, Timestamp,
};
use store::compliance::{self, Entry, NewDecision};
use testkit::TestDb;
use uuid::Uuid;

use crate::{count, person, sql, try_sql};

pub(crate) const ENTRIES: [Entry<'_>; 2] = [
    Entry {
        control_id: "3.3.1",
        family_id: "3.3",
        family: "Audit",
        requirement: "Create logs.",
        evidence_type: EvidenceType::Hybrid,
        assessor_notes: None,
    },
    Entry {
        control_id: "3.3.2",
        family_id: "3.3",
        family: "Audit",
        requirement: "Trace people.",
        evidence_type: EvidenceType::Manual,
        assessor_notes: Some("no check looks at it"),
    },
];
pub(crate) const OBJECTIVES: [&str; 3] = ["3.3.1[a]", "3.3.1[b]", "3.3.2[a]"];

pub(crate) fn met(id: &str) -> NewDecision {
    NewDecision {
        objective_id: ObjectiveId(id.to_owned()),
        finding: Some(Finding::Met),
        reason: "seen".to_owned(),
        methods: vec![Method::Examine, Method::Test],
    }
}

/// Approved evidence of `3.3.1[a]`, valid for a day.
pub(crate) fn policy(shows: &str, now: Timestamp) -> Evidence {
    Evidence {
        objectives: vec![ObjectiveId("3.3.1[a]".to_owned())],
        description: shows.to_owned(),
        valid_until: Some(now.plus(Span::days(1))),
        approved_by: Some("the program's word for it".to_owned()),
        approved_at: Some(now),
        ..Evidence::draft(
            EvidenceId(Uuid::now_v7()),
            ControlId("3.3.1".into()),
            EvidenceKind::PolicyDoc,
            "the program's word for it",
            now,
        )
    }
}

/// A decided requirement with a piece of evidence behind one objective.
pub(crate) async fn decided() -> TestDb {
    let db = TestDb::new().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    assert_eq!(
        compliance::load(&mut admin, &person("blueteam"), &ENTRIES, &OBJECTIVES)
            .await
            .unwrap(),
        5
    );

    assert_eq!(
        compliance::load(&mut admin, &person("blueteam"), &ENTRIES, &OBJECTIVES)
            .await
            .unwrap(),
        0
    );

    let decisions = [met("3.3.1[a]"), met("3.3.1[b]")];
    compliance::decide(
        &mut admin,
        &person("alice"),
        model::Clock::now(&SystemClock),
        &decisions,
    )
    .await
    .unwrap();

    let policy = policy("the policy", SystemClock.now());
    store::evidence::add(&mut admin, &person("alice"), &policy)
        .await
        .unwrap();

    db
}

#[tokio::test]
async fn the_documents_word_follows_the_objectives() {
    let db = decided().await;
    let mut conn = db.connect().await;
    let is = |word: &str| {
        format!("blueteam.compliance_controls WHERE control_id = '3.3.1' AND status = '{word}'")
    };
    assert_eq!(count(&mut conn, &is("implemented")).await, 1);

    let not = |id: &str| NewDecision {
        finding: Some(Finding::NotMet),
        ..met(id)
    };

    let now = model::Clock::now(&SystemClock);
    let mut admin = db.connect_as("blueteam_admin").await;
    compliance::decide(&mut admin, &person("bob"), now, &[not("3.3.1[a]")])
        .await
        .unwrap();
    assert_eq!(count(&mut conn, &is("partially_implemented")).await, 1);
    compliance::decide(&mut admin, &person("bob"), now, &[not("3.3.1[b]")])
        .await
        .unwrap();

    assert_eq!(count(&mut conn, &is("not_implemented")).await, 1);
    let back = NewDecision {
        finding: None,
        ..met("3.3.1[b]")
    };

    compliance::decide(
        &mut admin,
        &person("bob"),
        now,
        &[
            back.clone(),
            NewDecision {
                finding: None,
                ..met("3.3.1[a]")
            },
        ],
    )
    .await
    .unwrap();

    assert_eq!(count(&mut conn, &is("not_assessed")).await, 1);
    let history = compliance::history(&mut admin, None).await.unwrap();
    assert_eq!(history.len(), 6);
    assert_eq!(
        (history[5].by.as_deref(), history[2].previous.as_str()),
        (Some("bob"), "met")
    );

    let logged = "audit.audit_log WHERE actor = 'bob' AND resource_type = 'CONTROL' AND metadata \
        ->> 'table' = 'blueteam.compliance_objectives'";
    assert_eq!(count(&mut conn, logged).await, 4);
    let missing = compliance::decide(&mut admin, &person("bob"), now, &[met("3.9.9[a]")])
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("3.9.9[a]"), "{missing}");
}

#[tokio::test]
async fn evidence_lapses_with_the_clock() {
    let db = decided().await;
    let mut conn = db.connect_as("blueteam_reader").await;
    let now = model::Clock::now(&SystemClock);
    let standing = |controls: Vec<model::Control>| controls[0].objectives[0].standing();
    assert_eq!(
        standing(compliance::all(&mut conn, now).await.unwrap()),
        Standing::Met
    );

    let later = now.plus(Span::days(2));
    assert_eq!(
        standing(compliance::all(&mut conn, later).await.unwrap()),
        Standing::Stale
    );
}

/// A result of a check, `days` ago, that supports `3.3.2[a]` or nothing.
async fn result(db: &TestDb, days: i32, supports: bool) {
    let mut conn = db.connect().await;
    sql(
        &mut conn,
        &format!(
            "WITH made AS (INSERT INTO blueteam.compliance_evidence (control_id, evidence_type, \
                description, state, approved_by, approved_at, collected_at,
                 valid_until, facts, check_id)
             VALUES ('3.3.2', 'automated_check', 'x', 'final', 'check', now(), now() - interval \
             '{days} days', now() + interval '{} days', '{{}}', 'au_3_3_2')
             RETURNING evidence_id)
             INSERT INTO blueteam.evidence_objectives SELECT evidence_id, '3.3.2[a]' FROM made \
             WHERE {supports}",
            35 - days
        ),
    )
    .await;
}

#[tokio::test]
async fn only_the_newest_result_of_a_check_supports() {
    let db = decided().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let now = model::Clock::now(&SystemClock);
    compliance::decide(&mut admin, &person("alice"), now, &[met("3.3.2[a]")])
        .await
        .unwrap();

    let mut conn = db.connect_as("blueteam_reader").await;
    let mut seen = Vec::new();
    for (days, supports) in [(300, true), (3, true), (2, false), (1, true)] {
        result(&db, days, supports).await;
        let objective = compliance::all(&mut conn, now).await.unwrap()[1].objectives[0].clone();
        seen.push((
            objective.support.valid,
            objective.support.lapsed,
            objective.standing(),
        ));
    }

    let expected = [
        (0, 1, Standing::Stale),
        (1, 0, Standing::Met),
        (0, 1, Standing::Stale),
        (1, 0, Standing::Met),
    ];
    assert_eq!(
        seen, expected,
        "what it said before does not hold any more when it says otherwise"
    );

    let filter = store::evidence::EvidenceFilter {
        latest: true,
        ..Default::default()
    };

    assert_eq!(
        store::evidence::list(&mut conn, &filter)
            .await
            .unwrap()
            .len(),
        2,
        "the newest, and what people took in"
    );

    let mut after = EvidenceId(Uuid::nil());
    let mut paged = 0;
    loop {
        let filter = store::evidence::EvidenceFilter {
            after: Some(after),
            ..Default::default()
        };

        let page = store::evidence::list(&mut conn, &filter).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(
            page.windows(2)
                .all(|w| w[0].evidence_id.0 < w[1].evidence_id.0)
        );
        (after, paged) = (last.evidence_id, paged + page.len());
    }

    assert_eq!(paged, 5);
}

#[tokio::test]
async fn rare_types_of_events_are_counted_together_and_none_is_left_out() {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    sql(
        &mut conn,
        "INSERT INTO public.audit_events (category, action, result, user_id)
         SELECT (ARRAY['data', 'admin'])[1 + n % 2], 'action_' || n, 'success', CASE WHEN n <= \
         590 THEN gen_random_uuid() END
           FROM generate_series(1, 600) n, generate_series(1, CASE WHEN n <= 400 THEN 3 ELSE 1 \
           END)",
    )
    .await;

    let since = model::Clock::now(&SystemClock).minus(Span::days(30));
    let facts = store::facts::events(&mut conn, since).await.unwrap();
    assert_eq!(
        (facts.total, facts.types.len()),
        (1400, 501),
        "500 types; the rarer ones are all of one category"
    );

    let rest: Vec<_> = facts
        .types
        .iter()
        .filter(|t| t.action == "(rarer types)")
        .collect();
    assert_eq!(rest.iter().map(|t| t.events).sum::<u64>(), 100);

    let unnamed: u64 = facts.types.iter().map(|t| t.events - t.with_user).sum();
    assert_eq!(
        unnamed, 10,
        "a check sees those without a user, however rare"
    );
}

#[tokio::test]
async fn what_the_evidence_is_comes_with_the_wording_and_stays_as_people_say() {
    let db = TestDb::new().await;
    // As migrations before left it, with a note that somebody wrote.
    sql(
        &mut db.connect().await,
        "INSERT INTO blueteam.compliance_controls (control_id, family, family_id, requirement, \
            assessor_notes)
         VALUES ('3.3.2', 'Audit', '3.3', 'Trace people.', 'by hand')",
    )
    .await;

    let mut admin = db.connect_as("blueteam_admin").await;
    let load = async |conn: &mut sqlx::PgConnection| {
        compliance::load(conn, &person("blueteam"), &ENTRIES, &OBJECTIVES)
            .await
            .unwrap()
    };
    load(&mut admin).await;
    let now = SystemClock.now();
    let said = |c: &model::Control| (c.evidence_type, c.assessor_notes.clone());
    let controls = compliance::all(&mut admin, now).await.unwrap();
    assert_eq!(said(&controls[0]), (Some(EvidenceType::Hybrid), None));
    let by_hand = Some("by hand".to_owned());
    assert_eq!(said(&controls[1]), (Some(EvidenceType::Manual), by_hand));

    let changes = compliance::Changes {
        evidence_type: Some(EvidenceType::Automated),
        assessor_notes: Some("see SSP 3.3".to_owned()),
        ..compliance::Changes::default()
    };
    let (ann, id) = (person("ann"), ControlId("3.3.1".into()));
    compliance::change(&mut admin, &ann, &id, &changes)
        .await
        .unwrap();
    assert_eq!(load(&mut admin).await, 0);
    let controls = compliance::all(&mut admin, now).await.unwrap();
    let notes = Some("see SSP 3.3".to_owned());
    assert_eq!(said(&controls[0]), (Some(EvidenceType::Automated), notes));
}

#[tokio::test]
async fn an_adopted_status_becomes_a_proposal() {
    let db = TestDb::new().await;
    sql(
        &mut db.connect().await,
        "INSERT INTO blueteam.compliance_controls (control_id, family, family_id, requirement, \
            status, implementation_notes)
         VALUES ('3.3.1', 'Audit', '3.3', 'as it was', 'implemented', 'ours'), ('3.3.2', 'Audit', \
         '3.3', 'x', 'planned', NULL)",
    )
    .await;

    let mut admin = db.connect_as("blueteam_admin").await;
    compliance::load(&mut admin, &person("blueteam"), &ENTRIES, &OBJECTIVES)
        .await
        .unwrap();
    let controls = compliance::all(&mut admin, model::Clock::now(&SystemClock))
        .await
        .unwrap();
    assert_eq!(controls[0].notes.as_deref(), Some("ours"));

    let proposed = |c: usize| {
        controls[c].objectives[0]
            .proposal
            .as_ref()
            .map(|p| (p.finding, p.by.as_str()))
    };

    assert_eq!(proposed(0), Some((Finding::Met, "adoption")));
    assert_eq!(proposed(1), Some((Finding::NotMet, "adoption")));
    assert_eq!(
        controls[0].standing(),
        Standing::NotAssessed,
        "nobody has decided"
    );
}

#[tokio::test]
async fn no_role_rewrites_what_was_decided_or_taken_in() {
    let db = decided().await;
    for role in [
        "blueteam_admin",
        "blueteam_engine",
        "blueteam_reader",
        "blueteam_ingest",
        "",
    ] {
        let mut conn = if role.is_empty() {
            db.connect().await
        } else {
            db.connect_as(role).await
        };

        for text in [
            "UPDATE blueteam.objective_history SET decided_by = 'mallory'",
            "DELETE FROM blueteam.objective_history",
            "TRUNCATE blueteam.objective_history",
            "DELETE FROM blueteam.compliance_evidence",
            "TRUNCATE blueteam.compliance_evidence CASCADE",
            "UPDATE blueteam.compliance_evidence SET sha256 = repeat('0', 64)",
            "UPDATE blueteam.compliance_evidence SET content = 'other'",
            "UPDATE blueteam.compliance_evidence SET description = 'other'",
            "UPDATE blueteam.compliance_evidence SET state = 'draft'",
            "UPDATE blueteam.compliance_evidence SET retain_until = now()",
            "UPDATE blueteam.compliance_objectives SET finding = 'met', decided_by = NULL, \
                decided_at = NULL",
            "UPDATE blueteam.compliance_objectives SET finding = 'met', decided_by = 'x', \
                decided_at = now(), reason = ' '",
            "UPDATE blueteam.compliance_controls SET partial_credit = true WHERE control_id = \
                '3.3.1'",
            "UPDATE blueteam.compliance_controls SET responsibility = 'shared'",
        ] {
            let error = try_sql(&mut conn, text)
                .await
                .expect_err(&format!("{role}: {text}"));
            let code = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .unwrap_or_default()
                .into_owned();
            assert!(
                ["42501", "23514"].contains(&code.as_str()),
                "{role}: {text}: {error}"
            );
        }
    }

    for (role, text) in [
        (
            "blueteam_engine",
            "UPDATE blueteam.compliance_objectives SET finding = 'met'",
        ),
        (
            "blueteam_admin",
            "INSERT INTO blueteam.objective_history (objective_id, control_id, previous, finding, \
                methods) VALUES ('3.3.1[a]', '3.3.1', 'met', 'met', '{}')",
        ),
        (
            "blueteam_admin",
            "UPDATE blueteam.compliance_controls SET status = 'implemented'",
        ),
    ] {
        assert!(
            try_sql(&mut db.connect_as(role).await, text).await.is_err(),
            "{role}: {text}"
        );
    }
}
