//! What records people cannot be rewritten by them: people's role appends and changes states
//! through functions that record who acts.

use model::{Actor, AlertId, Clock as _, EvidenceId, Plan, PlanId, RiskLevel, SystemClock};
use sqlx::PgConnection;
use store::evidence::EvidenceFilter;
use uuid::Uuid;

use crate::compliance::{decided, met, policy};
use crate::{count, person, sql, try_sql};

/// Rows of every table that holds people's acts, written by the owner.
const ROWS: &str = "
    INSERT INTO blueteam.alert_rules (rule_id, name, severity) VALUES ('r', 'r', 'high') ON CONFLICT DO NOTHING;
    INSERT INTO blueteam.security_incidents (incident_id, title, severity, status, detected_by)
        VALUES ('00000000-0000-7000-8000-000000000001', 'closed', 'high', 'closed', 'r'),
               ('00000000-0000-7000-8000-000000000002', 'open', 'high', 'detected', 'r');
    INSERT INTO blueteam.incident_evidence (incident_id, evidence_type, description, collected_by, login, sequence,
                                            previous_hash, record_hash)
        VALUES ('00000000-0000-7000-8000-000000000002', 'note', 'x', session_user, session_user, 1, repeat('0', 64),
                repeat('1', 64));
    INSERT INTO blueteam.alert_history (alert_id, rule_id, severity, title)
        VALUES ('00000000-0000-7000-8000-000000000003', 'r', 'high', 'x');
    INSERT INTO blueteam.notifications (delivery_id, alert_id, channel, kind, payload, state)
        VALUES ('00000000-0000-7000-8000-000000000004', '00000000-0000-7000-8000-000000000003',
                'console', 'opened', '{}', 'dead');
    INSERT INTO blueteam.notification_attempts (delivery_id, attempt, outcome, detail)
        VALUES ('00000000-0000-7000-8000-000000000004', 1, 'dead', 'x');
    INSERT INTO blueteam.rate_limited_alerts (alert_id, channel)
        VALUES ('00000000-0000-7000-8000-000000000003', 'email');
    INSERT INTO blueteam.alert_verdicts (alert_id, verdict, decided_by)
        VALUES ('00000000-0000-7000-8000-000000000003', 'true_positive', 'ann');
    INSERT INTO blueteam.rule_test_results (rule_id, version, cases, failed, actor)
        VALUES ('r', '1', 1, 0, 'ann');
    INSERT INTO blueteam.posture_scores (compliance_score) VALUES (1);
    INSERT INTO users.users (username, email, password_hash) VALUES ('a', 'a@b', '!');
    INSERT INTO users.api_keys (user_id, key_hash, key_name, key_prefix)
        SELECT user_id, repeat('0', 64), 'k', 'k' FROM users.users";

async fn with_rows() -> testkit::TestDb {
    let db = decided().await;
    sql(&mut db.connect().await, ROWS).await;
    db
}

fn alert() -> AlertId {
    AlertId("00000000-0000-7000-8000-000000000003".parse().unwrap())
}

async fn assert_refused(conn: &mut PgConnection, role: &str, text: &str) {
    let error = try_sql(conn, text)
        .await
        .expect_err(&format!("{role} may: {text}"));
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .unwrap_or_default()
        .into_owned();

    // 42501 insufficient privilege; what RESTRICT gives from PostgreSQL 18 on, and before
    assert!(
        ["42501", "23001", "23503"].contains(&code.as_str()),
        "{role}: {text}: {error}"
    );
}

#[tokio::test]
async fn no_role_but_the_owner_deletes_or_rewrites_the_record() {
    let db = with_rows().await;
    for role in [
        "blueteam_admin",
        "blueteam_engine",
        "blueteam_ingest",
        "blueteam_reader",
        "eqmon_audit_writer",
        "audit_retention",
    ] {
        let mut conn = db.connect_as(role).await;
        for text in [
            "DELETE FROM blueteam.security_incidents",
            "DELETE FROM blueteam.incident_evidence",
            "DELETE FROM blueteam.alert_history",
            "DELETE FROM blueteam.posture_scores",
            "DELETE FROM blueteam.compliance_evidence",
            "DELETE FROM blueteam.evidence_objectives",
            "DELETE FROM blueteam.notifications",
            "DELETE FROM blueteam.notification_attempts",
            "DELETE FROM blueteam.rule_test_results",
            "DELETE FROM blueteam.alert_verdicts",
            "UPDATE blueteam.alert_verdicts SET verdict = 'false_positive'",
            "INSERT INTO blueteam.alert_verdicts (alert_id, verdict, decided_by) SELECT alert_id, \
                'false_positive', 'ann' FROM blueteam.alert_history",
            "DELETE FROM blueteam.poam_items",
            "DELETE FROM users.users",
            "DELETE FROM users.api_keys",
            "UPDATE blueteam.notification_attempts SET outcome = 'delivered'",
            "UPDATE blueteam.rule_test_results SET failed = 0",
            "UPDATE blueteam.posture_scores SET compliance_score = 110",
            "UPDATE blueteam.incident_evidence SET description = 'other'",
            "UPDATE blueteam.compliance_evidence SET valid_until = '2030-01-01'",
            "UPDATE blueteam.compliance_evidence SET approved_by = 'Someone'",
            "UPDATE blueteam.compliance_evidence SET owner = 'Someone'",
            "INSERT INTO blueteam.evidence_objectives SELECT evidence_id, '3.3.2[a]' FROM \
                blueteam.compliance_evidence",
            "UPDATE blueteam.evidence_objectives SET objective_id = '3.3.2[a]'",
            "UPDATE blueteam.compliance_objectives SET decided_by = 'Someone'",
            "UPDATE blueteam.alert_history SET severity = 'info'",
            "UPDATE blueteam.alert_history SET acknowledged = true, severity = 'info'",
            "UPDATE blueteam.security_incidents SET status = 'closed', severity = 'low'",
        ] {
            assert_refused(&mut conn, role, text).await;
        }
    }
}

#[tokio::test]
async fn people_touch_no_table_of_machines() {
    let db = with_rows().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    for text in [
        "UPDATE blueteam.alert_history SET title = 'other'",
        "UPDATE blueteam.alert_history SET event_ids = '{}', event_count = 0",
        "UPDATE blueteam.alert_history SET acknowledged_by = 'Someone', acknowledged = true",
        "UPDATE blueteam.security_incidents SET severity = 'low'",
        "UPDATE blueteam.security_incidents SET status = 'closed'",
        "UPDATE blueteam.notifications SET state = 'delivered'",
        "INSERT INTO blueteam.notifications (channel, kind, payload) VALUES ('email', 'digest', \
            '{}')",
        "INSERT INTO blueteam.notification_attempts (delivery_id, attempt, outcome, detail) SELECT \
            delivery_id, 2, 'delivered', 'x' FROM blueteam.notifications",
        "INSERT INTO blueteam.rate_limited_alerts (alert_id, channel) SELECT alert_id, 'webhook' \
            FROM blueteam.alert_history",
        "INSERT INTO blueteam.alert_history (severity, title) VALUES ('low', 'x')",
        "INSERT INTO blueteam.compliance_evidence (control_id, evidence_type, description) VALUES \
            ('3.3.1', 'policy_doc', 'x')",
        "UPDATE users.api_keys SET usage_count = 0",
        "UPDATE users.api_keys SET key_hash = repeat('1', 64)",
        "UPDATE blueteam.poam_items SET closed_by = 'Someone'",
    ] {
        assert_refused(&mut admin, "admin", text).await;
    }
}

#[tokio::test]
async fn the_owner_too_keeps_alerts_closed_incidents_and_approvals() {
    let db = with_rows().await;
    let mut owner = db.connect().await;
    store::alerts::ack(&mut owner, &person("ann"), alert())
        .await
        .unwrap();

    for text in [
        "UPDATE blueteam.alert_history SET severity = 'info'",
        "UPDATE blueteam.alert_history SET acknowledged = false, acknowledged_by = NULL",
        "UPDATE blueteam.alert_history SET acknowledged_by = 'bob'",
        "UPDATE blueteam.security_incidents SET severity = 'low' WHERE title = 'open'",
        "UPDATE blueteam.security_incidents SET status = 'detected' WHERE title = 'closed'",
        "UPDATE blueteam.security_incidents SET root_cause = 'other' WHERE title = 'closed'",
        "UPDATE blueteam.compliance_evidence SET approved_by = 'Someone'",
        "UPDATE blueteam.compliance_evidence SET valid_until = '2030-01-01'",
        "DELETE FROM blueteam.evidence_objectives",
        "DELETE FROM blueteam.notification_attempts",
        // Nothing goes along with what it belongs to.
        "DELETE FROM blueteam.security_incidents WHERE title = 'open'",
    ] {
        assert_refused(&mut owner, "owner", text).await;
    }

    let evidence = count(&mut owner, "blueteam.incident_evidence").await;
    assert_eq!(evidence, 1);
}

#[tokio::test]
async fn people_move_incidents_with_a_reason_and_nobody_rewrites_it() {
    let db = with_rows().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let mut step = async |phase: &str, why: &str, cause: &str| {
        let call = "SELECT blueteam.step_incident('00000000-0000-7000-8000-000000000002', NULL, \
            $1, $2, $3, 'nothing to learn')";
        sqlx::query_scalar::<_, String>(call)
            .bind(phase)
            .bind(why)
            .bind(cause)
            .fetch_one(&mut admin)
            .await
    };

    assert_eq!(
        step("contained", "the host is off", "").await.unwrap(),
        "done"
    );
    assert_eq!(step("contained", "once more", "").await.unwrap(), "same");
    assert!(
        step("analyzing", " ", "").await.is_err(),
        "without a reason"
    );
    assert_eq!(
        step("analyzing", "it spreads on", "").await.unwrap(),
        "done"
    );
    assert_eq!(
        step("closed", "it is over", "").await.unwrap(),
        "incomplete"
    );
    assert_eq!(
        step("closed", "it is over", "guessing").await.unwrap(),
        "done"
    );
    assert_eq!(
        step("closed", "it is over", "guessing").await.unwrap(),
        "same"
    );

    let mut owner = db.connect().await;
    let kept = "blueteam.incident_history WHERE login = 'blueteam_admin' AND (previous, status) IN \
        (('detected', 'contained'), ('contained', 'analyzing'), ('analyzing', 'closed'))";
    assert_eq!(count(&mut owner, kept).await, 3);
    let rewrite = "UPDATE blueteam.incident_history SET reason = 'other'";
    assert_refused(&mut owner, "owner", rewrite).await;
    // Nor is what is closed changed, or opened again, without a step on record.
    let change =
        "UPDATE blueteam.security_incidents SET status = 'detected' WHERE status = 'closed'";
    assert_refused(&mut owner, "owner", change).await;
    let change =
        "UPDATE blueteam.security_incidents SET root_cause = 'none' WHERE status = 'closed'";
    assert_refused(&mut owner, "owner", change).await;
}

#[tokio::test]
async fn whose_silence_it_is_nobody_chooses() {
    let db = with_rows().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let forged = "INSERT INTO blueteam.silences (kind, rule_id, author, reason, ends_at)
        VALUES ('silence', 'r', 'Someone', 'because', now() + interval '1 hour')";
    assert_refused(&mut admin, "admin", forged).await;

    // Neither does the owner's statement say who it was.
    let mut owner = db.connect().await;
    sql(&mut owner, forged).await;
    sql(
        &mut owner,
        "UPDATE blueteam.silences SET author = 'Other', ends_at = now(), ended_by = 'Other'",
    )
    .await;
    let own = "blueteam.silences WHERE author = session_user AND ended_by = session_user";
    assert_eq!(count(&mut owner, own).await, 1);
}

#[tokio::test]
async fn functions_record_who_acts_and_for_whom() {
    let db = with_rows().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let actor = Actor {
        on_behalf_of: Some("alice".to_owned()),
        ..person("ann")
    };
    let (who, now) = ("ann, on behalf of alice", SystemClock.now());

    assert!(
        store::alerts::ack(&mut admin, &actor, alert())
            .await
            .unwrap()
    );
    let seen = store::alerts::show(&mut admin, alert()).await.unwrap();
    assert_eq!(seen.unwrap().acknowledged_by.as_deref(), Some(who));

    store::compliance::decide(&mut admin, &actor, now, &[met("3.3.2[a]")])
        .await
        .unwrap();
    let history = store::compliance::history(&mut admin, None).await.unwrap();
    assert_eq!(history.last().unwrap().by.as_deref(), Some(who));

    let draft = model::Evidence {
        approved_by: None,
        approved_at: None,
        ..policy("a draft", now)
    };
    store::evidence::add(&mut admin, &actor, &draft)
        .await
        .unwrap();
    assert!(
        store::evidence::approve(&mut admin, &person("bob"), draft.evidence_id, now)
            .await
            .unwrap()
    );
    let piece = piece(&mut admin, draft.evidence_id).await;
    assert_eq!(piece.collected_by.as_deref(), Some(who));
    assert_eq!(piece.approved_by.as_deref(), Some("bob"));
    assert_eq!(piece.approved_at, Some(now));

    let mut plan = Plan {
        weakness: "w".to_owned(),
        remediation: "r".to_owned(),
        ..Plan::new(
            PlanId(Uuid::now_v7()),
            draft.control_id.clone(),
            RiskLevel::Low,
            now,
        )
    };
    store::plans::save(&mut admin, &actor, std::slice::from_mut(&mut plan), now)
        .await
        .unwrap();
    assert!(
        store::plans::close(&mut admin, &actor, plan.poam_id, draft.evidence_id, now)
            .await
            .unwrap()
    );
    let closed = &store::plans::list(&mut admin).await.unwrap()[0];
    assert_eq!(closed.closed_by.as_deref(), Some(who));
    let again = store::plans::save(&mut admin, &actor, std::slice::from_mut(&mut plan), now).await;
    assert!(again.is_err(), "a completed item stays");

    assert_eq!(
        store::deliveries::resend(&mut admin, &actor, None)
            .await
            .unwrap(),
        1
    );
    let resent = format!("blueteam.notification_attempts WHERE detail = 'by {who}'");
    assert_eq!(count(&mut admin, &resent).await, 1);

    let beside = "audit.audit_log WHERE actor = 'ann' AND metadata ->> 'on_behalf_of' = 'alice'";
    assert!(count(&mut admin, beside).await >= 4);
    let instead = "audit.audit_log WHERE actor LIKE '%alice%' AND actor <> 'alice'";
    assert_eq!(count(&mut admin, instead).await, 0);
}

#[tokio::test]
async fn nothing_is_dated_back() {
    let db = decided().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let now = SystemClock.now();
    let last_year = policy("of last year", now.minus(model::Span::days(365)));
    store::evidence::add(&mut admin, &person("ann"), &last_year)
        .await
        .unwrap();

    let stored = piece(&mut admin, last_year.evidence_id).await;
    assert!(stored.approved_at.unwrap() >= now);
}

async fn piece(conn: &mut PgConnection, id: EvidenceId) -> model::Evidence {
    let filter = EvidenceFilter {
        evidence_id: Some(id),
        ..EvidenceFilter::default()
    };
    store::evidence::list(conn, &filter)
        .await
        .unwrap()
        .pop()
        .unwrap()
}

#[tokio::test]
async fn items_that_are_added_at_once_have_numbers_of_their_own_without_a_gap() {
    let db = decided().await;
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..12 {
        let mut admin = db.connect_as("blueteam_admin").await;
        tries.spawn(async move {
            let text = format!(
                "INSERT INTO blueteam.poam_items
                     (control_id, weakness_description, risk_level, remediation_plan)
                 VALUES ('3.3.1', 'weakness {n}', 'high', 'x')"
            );
            try_sql(&mut admin, &text).await
        });
    }
    for done in tries.join_all().await {
        done.unwrap();
    }
    let mut owner = db.connect().await;
    let numbered =
        "blueteam.poam_items WHERE split_part(item_number, '-', 3)::int BETWEEN 1 AND 12";
    assert_eq!(count(&mut owner, numbered).await, 12);
}
