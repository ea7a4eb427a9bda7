//! Incidents as people lead them: with each other, against each other, and with the engine between.

use model::{AlertId, IncidentId, IncidentStatus, Phase, Severity};
use sqlx::{Connection as _, PgConnection};
use store::incidents::{self, Answer, Change, EntryKind, NewIncident, Step, TaskState};
use testkit::TestDb;
use uuid::Uuid;

use crate::alerts::{apply, change};
use crate::{count, person, sql};

/// Whoever tells what happened is another each time, and the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // The constants of Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

async fn step(
    conn: &mut PgConnection,
    incident: IncidentId,
    version: Option<u64>,
    to: IncidentStatus,
) -> Answer {
    let mut change = Change::begin(conn, &person("dana")).await.unwrap();
    let step = Step {
        to,
        reason: "a reason",
        root_cause: "a cause",
        lessons: "a lesson",
    };
    let answer = change.step(incident, version, &step).await.unwrap();
    change.commit().await.unwrap();
    answer
}

async fn all(conn: &mut PgConnection) -> Vec<incidents::Incident> {
    incidents::list(conn, true, 100).await.unwrap()
}

/// What a person has set, the engine proposes to change; what it was itself that set, it changes.
#[tokio::test]
async fn what_a_person_has_set_stays_and_a_worse_alert_proposes() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let mut admin = db.connect_as("blueteam_admin").await;
    apply(
        &mut engine,
        &[change(1, "brute_force", Severity::High, Phase::Opened, 6)],
    )
    .await;
    let first = all(&mut admin).await.remove(0);

    let mut edit = Change::begin(&mut admin, &person("dana")).await.unwrap();
    let (title, severity) = (Some("Our own scan"), Some(Severity::Low));
    let answer = edit
        .edit(
            first.incident_id,
            Some(first.version),
            title,
            severity,
            "ordered",
        )
        .await
        .unwrap();
    assert_eq!(answer, Answer::Done);
    edit.commit().await.unwrap();

    let worse = change(
        2,
        "credential_stuffing",
        Severity::Critical,
        Phase::Opened,
        12,
    );
    apply(&mut engine, &[worse]).await;
    let after = all(&mut admin).await.remove(0);
    assert_eq!(
        (after.title.as_str(), after.severity, after.alerts),
        ("Our own scan", Severity::Low, 2)
    );
    assert_eq!(after.proposed_severity, Some(Severity::Critical));
    assert!(
        after
            .proposed_title
            .unwrap()
            .starts_with("credential_stuffing")
    );

    // Whoever saw the first version changes nothing any more.
    let answer = step(
        &mut admin,
        first.incident_id,
        Some(first.version),
        IncidentStatus::Analyzing,
    )
    .await;
    assert_eq!(answer, Answer::Stale);
}

/// An alert that a person took out stays out when it grows, and one that comes after the close opens
/// an incident that says after which one it comes; reopening takes that in.
#[tokio::test]
async fn alerts_go_where_people_put_them() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let grown = |events| change(1, "brute_force", Severity::High, Phase::Extended, events);
    apply(
        &mut engine,
        &[
            change(1, "brute_force", Severity::High, Phase::Opened, 6),
            change(2, "web_scanner", Severity::High, Phase::Opened, 6),
        ],
    )
    .await;
    let incident = all(&mut admin).await.remove(0).incident_id;
    let alert = AlertId(
        change(1, "x", Severity::High, Phase::Opened, 6)
            .detection
            .fingerprint
            .0,
    );

    let mut out = Change::begin(&mut admin, &person("dana")).await.unwrap();
    assert_eq!(
        out.unlink(incident, alert, "a scanner of ours")
            .await
            .unwrap(),
        Answer::Done
    );
    out.commit().await.unwrap();
    apply(&mut engine, &[grown(9)]).await;
    assert_eq!(
        all(&mut admin).await[0].alerts,
        1,
        "it does not go back by itself"
    );
    let links = incidents::links(&mut admin, incident).await.unwrap();
    let ended: Vec<&str> = links
        .iter()
        .filter_map(|link| link.end_reason.as_deref())
        .collect();
    assert_eq!((links.len(), ended), (2, vec!["a scanner of ours"]));

    assert_eq!(
        step(&mut admin, incident, None, IncidentStatus::Closed).await,
        Answer::Done
    );
    let seen = "blueteam.alert_history WHERE acknowledged AND incident_id IS NOT NULL";
    assert_eq!(
        count(&mut admin, seen).await,
        1,
        "closing settles its alerts"
    );
    apply(
        &mut engine,
        &[change(
            3,
            "injection_attempt",
            Severity::High,
            Phase::Opened,
            6,
        )],
    )
    .await;
    let next = all(&mut admin).await.remove(0);
    assert_eq!(next.follows, Some(incident));
    assert_eq!(
        step(&mut admin, incident, None, IncidentStatus::Analyzing).await,
        Answer::Done
    );
    let shown = all(&mut admin).await;
    let by_id = |id| shown.iter().find(|one| one.incident_id == id).unwrap();
    assert_eq!(by_id(next.incident_id).merged_into, Some(incident));
    assert_eq!(by_id(incident).alerts, 2);
}

/// Of two that become one the earliest discovery counts, with what was decided; taken apart, each
/// has its own again.
#[tokio::test]
async fn a_merge_keeps_the_earliest_discovery_and_is_undone_as_easily() {
    let db = TestDb::new().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let mut made = Vec::new();
    for title in ["the first", "the second", "the third"] {
        let mut open = Change::begin(&mut admin, &person("dana")).await.unwrap();
        let new = NewIncident {
            title,
            description: None,
            severity: Severity::High,
            alert: None,
            reason: "",
        };
        made.push(open.open(&new).await.unwrap().unwrap());
        open.commit().await.unwrap();
    }
    let [first, second, third] = made[..] else {
        panic!("three")
    };
    let early = model::Timestamp::parse("2026-11-01T08:00:00Z").unwrap();
    let mut tell = Change::begin(&mut admin, &person("dana")).await.unwrap();
    assert_eq!(
        tell.discover(first, None, early, "the first call")
            .await
            .unwrap(),
        Answer::Done
    );
    assert_eq!(
        tell.decide(first, None, "dfars", true, "drawings")
            .await
            .unwrap(),
        Answer::Done
    );
    assert_eq!(
        tell.merge(first, second, "one attacker").await.unwrap(),
        Answer::Done
    );
    // What holds another stays where it is, and what is part of another is no place to merge into.
    assert_eq!(
        tell.merge(second, third, "again").await.unwrap(),
        Answer::Holds
    );
    assert_eq!(
        tell.merge(third, first, "again").await.unwrap(),
        Answer::OtherMerged
    );
    assert_eq!(
        tell.merge(first, third, "again").await.unwrap(),
        Answer::Merged
    );
    tell.commit().await.unwrap();

    let shown = all(&mut admin).await;
    let by_id = |id| shown.iter().find(|one| one.incident_id == id).unwrap();
    let both = by_id(second);
    assert_eq!(both.discovered_at, early);
    assert!(
        both.decided
            .iter()
            .any(|one| one.duty == "dfars" && one.applies)
    );
    let due = "blueteam.reports_due";
    assert_eq!(count(&mut admin, due).await, 1);

    let mut undo = Change::begin(&mut admin, &person("dana")).await.unwrap();
    assert_eq!(
        undo.undo_merge(first, "two after all").await.unwrap(),
        Answer::Done
    );
    assert_eq!(
        undo.undo_merge(first, "once more").await.unwrap(),
        Answer::Apart
    );
    undo.commit().await.unwrap();
    let shown = all(&mut admin).await;
    let by_id = |id| shown.iter().find(|one| one.incident_id == id).unwrap();
    assert!(by_id(second).discovered_at > early);
    assert!(by_id(second).decided.is_empty());
    assert_eq!(
        (by_id(first).status, by_id(first).merged_into),
        (IncidentStatus::Detected, None)
    );
    // Neither a merge nor a decision is taken out of the record.
    let mut owner = db.connect().await;
    for statement in [
        "DELETE FROM blueteam.incident_merges",
        "UPDATE blueteam.incident_merges SET reason = 'another'",
        "UPDATE blueteam.incident_decisions SET applies = false",
        "DELETE FROM blueteam.incident_alerts",
        "TRUNCATE blueteam.incident_tasks",
    ] {
        let refused = sqlx::query(statement).execute(&mut owner).await;
        assert!(
            refused.is_err() || refused.unwrap().rows_affected() == 0,
            "{statement}"
        );
    }
}

/// Ten incidents, led by four people at once who do whatever comes to their minds, while the engine
/// finds more. Whatever the order, every invariant holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_incidents_are_led_by_four_people_at_once() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let seed: u64 = std::env::var("INCIDENTS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_261_201);
    eprintln!("INCIDENTS_SEED={seed}");
    let attack = |n: u8, events| {
        let mut one = change(
            u128::from(n),
            "brute_force",
            Severity::High,
            Phase::Opened,
            events,
        );
        one.detection.entity.value = format!("203.0.113.{}", n % 10);
        one.detection.cui_involved = n.is_multiple_of(3);
        one
    };
    let all_attacks: Vec<_> = (0..10).map(|n| attack(n, 6)).collect();
    apply(&mut engine, &all_attacks).await;

    let mut people = Vec::new();
    for who in 0..4_u64 {
        let mut conn = db.connect_as("blueteam_admin").await;
        people.push(tokio::spawn(async move {
            let mut dice = Dice(seed.wrapping_add(who * 7919));
            let mut done = 0_u32;
            for _ in 0..60 {
                done += u32::from(act(&mut conn, &mut dice, who).await);
            }
            done
        }));
    }
    for n in 10..30 {
        apply(&mut engine, &[attack(n, 6)]).await;
    }
    let mut done = 0;
    for one in people {
        done += one.await.unwrap();
    }
    assert!(done > 40, "{done} changes were done");
    hold_all(&mut db.connect().await).await;
}

/// One thing that a person does. Returns whether it was done; what was refused, and what another
/// held at that moment, was not.
async fn act(conn: &mut PgConnection, dice: &mut Dice, who: u64) -> bool {
    let name = format!("person-{who}");
    let actor = person(&name);
    let shown = all(conn).await;
    let one = shown[dice.roll(shown.len())].clone();
    let other = shown[dice.roll(shown.len())].incident_id;
    let alert: Option<Uuid> = sqlx::query_scalar(
        "SELECT alert_id FROM blueteam.alert_history ORDER BY alert_id OFFSET $1 LIMIT 1",
    )
    .bind(i64::try_from(dice.roll(20)).unwrap())
    .fetch_optional(&mut *conn)
    .await
    .unwrap();
    let alert = AlertId(alert.unwrap_or_default());
    let version = (dice.roll(2) == 0).then_some(one.version);
    let id = one.incident_id;

    let mut change = Change::begin(conn, &actor).await.unwrap();
    let to = IncidentStatus::ALL[dice.roll(6)];
    let step = Step {
        to,
        reason: "what was found",
        root_cause: if dice.roll(2) == 0 { "" } else { "a cause" },
        lessons: "a lesson",
    };
    let answer = match dice.roll(9) {
        0..3 => change.step(id, version, &step).await,
        3 => change.merge(id, other, "one attack").await,
        4 => change.undo_merge(id, "two attacks").await,
        5 => change.link(id, alert, "it belongs here").await,
        6 => change.unlink(id, alert, "it does not").await,
        7 => {
            change
                .decide(id, version, "dfars", dice.roll(2) == 0, "looked at it")
                .await
        }
        _ => {
            let added = change.add_task(id, "look at it").await;
            match added {
                Ok(Answer::Done) => {
                    change
                        .write(id, EntryKind::Note, None, "a note")
                        .await
                        .unwrap();
                    change
                        .settle_task(id, 1, TaskState::Done, None)
                        .await
                        .map(|_| Answer::Done)
                }
                other => other,
            }
        }
    };
    match answer {
        Ok(Answer::Done) => change.commit().await.is_ok(),
        // Refused, or another holds what it needs: nothing of it stays.
        Ok(_) => false,
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.contains("deadlock") || text.contains("lock timeout"),
                "{text}"
            );
            false
        }
    }
}

/// What must hold of incidents, whatever was done to them.
async fn hold_all(conn: &mut PgConnection) {
    for (wrong, sql) in [
        (
            "an alert is where its link says",
            "SELECT count(*) FROM blueteam.alert_history a
               LEFT JOIN blueteam.incident_alerts l ON l.alert_id = a.alert_id AND l.ended_at IS NULL
              WHERE a.incident_id IS DISTINCT FROM l.incident_id",
        ),
        (
            "an incident stands where its last step led",
            "SELECT count(*) FROM blueteam.security_incidents i
               JOIN LATERAL (SELECT status FROM blueteam.incident_history h
                              WHERE h.incident_id = i.incident_id ORDER BY change_id DESC LIMIT 1) h ON true
              WHERE i.status <> h.status",
        ),
        (
            "each step begins where the one before led",
            "SELECT count(*) FROM (SELECT previous, lag(status) OVER (PARTITION BY incident_id ORDER BY change_id) AS before
                                     FROM blueteam.incident_history) AS h
              WHERE before IS NOT NULL AND previous <> before",
        ),
        (
            "what is closed has its cause and its lessons, or is part of another",
            "SELECT count(*) FROM blueteam.security_incidents
              WHERE status = 'closed' AND merged_into IS NULL
                AND (length(coalesce(root_cause, '')) < 3 OR length(coalesce(lessons_learned, '')) < 3)",
        ),
        (
            "what is part of another is closed and has an open merge",
            "SELECT count(*) FROM blueteam.security_incidents i
              WHERE (merged_into IS NOT NULL)
                 <> EXISTS (SELECT FROM blueteam.incident_merges m
                             WHERE m.source_id = i.incident_id AND m.undone_at IS NULL)
                 OR (merged_into IS NOT NULL AND status <> 'closed')",
        ),
        (
            "what is part of another holds none",
            "SELECT count(*) FROM blueteam.security_incidents i
              WHERE merged_into IS NOT NULL
                AND EXISTS (SELECT FROM blueteam.security_incidents m WHERE m.merged_into = i.incident_id)",
        ),
        (
            "there is one open incident of an entity",
            "SELECT count(*) FROM (SELECT FROM blueteam.security_incidents WHERE status <> 'closed' AND entity_value IS NOT NULL
                                    GROUP BY tenant_id, source, entity_type, entity_value HAVING count(*) > 1) AS twice",
        ),
        (
            "a report is due where the newest decision says so",
            "SELECT count(*) FROM blueteam.security_incidents i
               JOIN LATERAL (SELECT applies FROM blueteam.incident_decisions d
                              WHERE d.incident_id = i.incident_id ORDER BY decision_id DESC LIMIT 1) d ON true
              WHERE i.dfars_reportable IS DISTINCT FROM d.applies",
        ),
        (
            "what is contained was",
            "SELECT count(*) FROM blueteam.security_incidents
              WHERE merged_into IS NULL
                AND ((status IN ('detected', 'analyzing') AND contained_at IS NOT NULL)
                     OR (status = 'closed') <> (closed_at IS NOT NULL))",
        ),
    ] {
        let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut *conn).await.unwrap();
        assert_eq!(found, 0, "not so: {wrong}");
    }
}

/// Power is cut between two changes: what was said to be done is, and the rest is not.
#[tokio::test]
async fn what_is_not_committed_did_not_happen() {
    let db = TestDb::new().await;
    let mut engine = db.connect_as("blueteam_engine").await;
    apply(
        &mut engine,
        &[change(1, "brute_force", Severity::High, Phase::Opened, 6)],
    )
    .await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let one = all(&mut admin).await.remove(0);
    let mut half = Change::begin(&mut admin, &person("dana")).await.unwrap();
    half.add_task(one.incident_id, "half a thought")
        .await
        .unwrap();
    half.write(one.incident_id, EntryKind::Note, None, "half a note")
        .await
        .unwrap();
    drop(half);
    admin.close().await.unwrap();

    let mut admin = db.connect_as("blueteam_admin").await;
    assert!(
        incidents::tasks(&mut admin, one.incident_id)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        incidents::entries(&mut admin, one.incident_id)
            .await
            .unwrap()
            .is_empty()
    );
    sql(&mut admin, "SELECT 1").await;
}

/// What an incident holds is not pruned, whatever the retention, until it is reported and 90 days are
/// over, or someone releases it; and no time in an event holds everything for good.
#[tokio::test]
async fn what_an_incident_holds_is_kept() {
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    sql(
        &mut owner,
        "SELECT blueteam.make_partition('blueteam.log_events', (date_trunc('month', now()) - make_interval(months => m))::date)
           FROM generate_series(0, 8) AS m",
    )
    .await;
    let months = "pg_inherits WHERE inhparent = 'blueteam.log_events'::regclass";
    let all = count(&mut owner, months).await;
    sql(
        &mut owner,
        "INSERT INTO blueteam.alert_rules (rule_id, name, severity) VALUES ('r', 'r', 'high');
         INSERT INTO blueteam.security_incidents
             (title, severity, detected_by, cui_involved, dfars_reportable, detected_at)
         VALUES ('drawings', 'high', 'correlation_rule', true, true, now() - interval '7 months');
         INSERT INTO blueteam.alert_history
             (alert_id, rule_id, severity, title, description, first_seen, last_seen, fingerprint, incident_id)
         SELECT blueteam.uuid_v7(), 'r', 'high', 'x', 'x', '1970-01-01', now(), blueteam.uuid_v7(), incident_id
           FROM blueteam.security_incidents",
    )
    .await;
    let mut engine = db.connect_as("blueteam_engine").await;
    let dropped = store::log_events::drop_old(&mut engine, 3).await.unwrap();
    assert_eq!(
        dropped,
        Vec::<String>::new(),
        "an event of 1970 holds 400 days"
    );
    assert_eq!(count(&mut owner, months).await, all);

    // Its first event was seven months ago: what is older than eight may go.
    sql(
        &mut owner,
        "UPDATE blueteam.alert_history SET first_seen = now() - interval '7 months'",
    )
    .await;
    let gone = store::log_events::drop_old(&mut engine, 3).await.unwrap();
    assert!(gone.len() <= 1, "{gone:?}");
    let held = count(&mut owner, months).await;

    let mut admin = db.connect_as("blueteam_admin").await;
    let incident = all_of(&mut admin).await;
    let shown = incidents::hold(&mut admin, incident)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown.until, None);
    let mut release = Change::begin(&mut admin, &person("dana")).await.unwrap();
    assert_eq!(
        release.release(incident, "DC3 has it all").await.unwrap(),
        Answer::Done
    );
    assert_eq!(
        release.release(incident, "again").await.unwrap(),
        Answer::Free
    );
    release.commit().await.unwrap();
    let gone = store::log_events::drop_old(&mut engine, 3).await.unwrap();
    assert!(gone.len() > 2, "{gone:?}");
    assert!(count(&mut owner, months).await < held);
}

async fn all_of(conn: &mut PgConnection) -> IncidentId {
    all(conn).await.remove(0).incident_id
}
