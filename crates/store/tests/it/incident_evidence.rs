//! The chain of an incident's evidence in the database: one row without a fork, and as it is.

use model::{
    CustodyEntry, EvidenceEntry, EvidenceItem, EvidenceRecord, IncidentId, IncidentStatus, TenantId,
};
use respond::chain::{GENESIS, sealed, verify};
use sqlx::PgConnection;
use store::incident_evidence::{self, ChainEnd};
use testkit::TestDb;
use uuid::Uuid;

use crate::{count, person, sql, try_sql};

const MIGRATION_030: &str = include_str!("data/030_audit_events.sql");
const INCIDENT: IncidentId = IncidentId(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0002));

async fn with_incident() -> TestDb {
    let db = TestDb::new().await;
    let text = format!(
        "INSERT INTO blueteam.security_incidents (incident_id, title, severity, detected_by)
         VALUES ('{INCIDENT}', 'open', 'high', 'r')"
    );
    sql(&mut db.connect().await, &text).await;
    db
}

fn record(end: &ChainEnd, what: EvidenceEntry) -> EvidenceRecord {
    sealed(EvidenceRecord {
        tenant: end.tenant,
        incident: end.incident,
        sequence: end.sequence + 1,
        previous: end.hash.clone(),
        hash: String::new(),
        id: Uuid::now_v7(),
        by: end.actor.clone(),
        login: Some(end.login.clone()),
        at: end.at,
        what,
    })
}

fn note(text: &str) -> EvidenceEntry {
    EvidenceEntry::Item(Box::new(EvidenceItem {
        kind: "note".to_owned(),
        description: text.to_owned(),
        content: Some(text.to_owned()),
        size: Some(i64::try_from(text.len()).unwrap()),
        query: Some("{\"b\": 1,\"a\":\"\\u0007ż\"}".to_owned()),
        ..EvidenceItem::default()
    }))
}

async fn add(conn: &mut PgConnection, what: EvidenceEntry) -> Result<EvidenceRecord, String> {
    let mut tx = store::begin(conn, &person("ann")).await.unwrap();
    let end = incident_evidence::hold(&mut tx, INCIDENT).await.unwrap();
    let record = record(&end.unwrap(), what);
    incident_evidence::append(&mut tx, &record)
        .await
        .map_err(|error| error.to_string())?;
    tx.commit().await.unwrap();
    Ok(record)
}

#[tokio::test]
async fn records_are_kept_as_they_were_hashed_and_the_audit_log_knows_them() {
    let db = with_incident().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let texts = ["a", "say \"x\"\r\n\t\u{202e}ż\u{1F600}", "\\u0000"];
    for text in texts {
        let item = add(&mut admin, note(text)).await.unwrap();
        let viewed = EvidenceEntry::Custody(CustodyEntry {
            evidence: Some(item.id),
            event: "viewed".to_owned(),
            party: None,
            remark: Some(text.to_owned()),
        });
        add(&mut admin, viewed).await.unwrap();
    }

    let records = incident_evidence::records(&mut admin, INCIDENT)
        .await
        .unwrap();
    let known = incident_evidence::witnesses(&mut admin, INCIDENT, &records)
        .await
        .unwrap();
    let verdict = verify(&records, Some(&known));
    assert_eq!((verdict.records, verdict.items), (6, 3));
    assert_eq!(verdict.faults, []);
    assert_eq!(
        incident_evidence::incidents(&mut admin).await.unwrap(),
        [INCIDENT]
    );

    // Another time zone of whoever asks changes nothing.
    sql(&mut admin, "SET TIME ZONE 'Asia/Kathmandu'").await;
    let again = incident_evidence::witnesses(&mut admin, INCIDENT, &records)
        .await
        .unwrap();
    assert!(again.iter().all(|witness| witness.changed.is_empty()));
}

#[tokio::test]
async fn two_that_add_at_once_never_follow_the_same_record() {
    let db = with_incident().await;
    let mut first = db.connect_as("blueteam_admin").await;
    let mut second = db.connect_as("blueteam_admin").await;
    let mut tx = store::begin(&mut first, &person("ann")).await.unwrap();
    let end = incident_evidence::hold(&mut tx, INCIDENT)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((end.sequence, end.hash.as_str()), (0, GENESIS));

    // Who comes second waits, and follows the first.
    let waiting = tokio::spawn(async move { add(&mut second, note("second")).await });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    let one = record(&end, note("first"));
    incident_evidence::append(&mut tx, &one).await.unwrap();
    tx.commit().await.unwrap();
    let two = waiting.await.unwrap().unwrap();
    assert_eq!((two.sequence, &two.previous), (2, &one.hash));
}

/// What is done to a record before it is added.
type Change = fn(&mut EvidenceRecord);

#[tokio::test]
async fn the_database_refuses_what_does_not_follow() {
    let db = with_incident().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    add(&mut admin, note("first")).await.unwrap();

    let changes: [Change; 7] = [
        |r| r.sequence += 1,
        |r| r.sequence -= 1,
        |r| r.previous = GENESIS.to_owned(),
        |r| r.by = "bob".to_owned(),
        |r| r.login = Some("other".to_owned()),
        |r| r.at = r.at.minus(model::Span::hours(1)),
        |r| r.tenant = Uuid::from_u128(7),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut tx = store::begin(&mut admin, &person("ann")).await.unwrap();
        let end = incident_evidence::hold(&mut tx, INCIDENT).await.unwrap();
        let mut record = record(&end.unwrap(), note("second"));
        change(&mut record);
        let added = incident_evidence::append(&mut tx, &sealed(record)).await;
        assert!(added.is_err(), "change {number}");
        tx.rollback().await.unwrap();
    }

    // Not by a plain statement either, and not by the owner.
    let plain = format!(
        "INSERT INTO blueteam.incident_evidence (incident_id, evidence_type, description, collected_by,
             sequence, previous_hash, record_hash)
         VALUES ('{INCIDENT}', 'note', 'x', 'ann', 2, repeat('0', 64), repeat('0', 64))"
    );
    assert!(try_sql(&mut admin, &plain).await.is_err());
    let mut owner = db.connect().await;
    for text in [
        plain.as_str(),
        "UPDATE blueteam.incident_evidence SET description = 'other'",
        "DELETE FROM blueteam.incident_evidence",
        "TRUNCATE blueteam.incident_evidence CASCADE",
        "UPDATE blueteam.incident_custody SET remark = 'other'",
        "TRUNCATE blueteam.incident_custody",
    ] {
        let refused = try_sql(&mut owner, text).await;
        // An update of no row is none.
        if !text.contains("custody SET") {
            assert!(refused.is_err(), "{text}");
        }
    }
    assert_eq!(count(&mut owner, "blueteam.incident_evidence").await, 1);
}

#[tokio::test]
async fn a_closed_incident_takes_no_item_and_keeps_the_record_of_what_happens() {
    let db = with_incident().await;
    let mut owner = db.connect().await;
    let mut admin = db.connect_as("blueteam_admin").await;
    let item = add(&mut admin, note("first")).await.unwrap();
    sql(
        &mut owner,
        "UPDATE blueteam.security_incidents SET status = 'closed', closed_at = now()",
    )
    .await;

    let end = {
        let mut tx = store::begin(&mut admin, &person("ann")).await.unwrap();
        incident_evidence::hold(&mut tx, INCIDENT).await.unwrap()
    };
    assert_eq!(end.unwrap().status, IncidentStatus::Closed);
    let refused = add(&mut admin, note("second")).await.unwrap_err();
    assert!(refused.contains("is closed"), "{refused}");
    let exported = EvidenceEntry::Custody(CustodyEntry {
        evidence: Some(item.id),
        event: "exported".to_owned(),
        party: None,
        remark: None,
    });
    add(&mut admin, exported).await.unwrap();
    let absent = IncidentId(Uuid::from_u128(9));
    let mut tx = store::begin(&mut admin, &person("ann")).await.unwrap();
    assert!(
        incident_evidence::hold(&mut tx, absent)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn what_was_recorded_before_the_chain_is_its_beginning() {
    let db = TestDb::empty().await;
    let mut owner = db.connect().await;
    sql(&mut owner, MIGRATION_030).await;
    let rows = format!(
        "INSERT INTO blueteam.security_incidents (incident_id, title, severity, detected_by)
             VALUES ('{INCIDENT}', 'old', 'low', 'me');
         INSERT INTO blueteam.incident_evidence
             (incident_id, evidence_type, description, content, file_path, collected_at, collected_by, hash_sha256)
             VALUES ('{INCIDENT}', 'note', E'zażółć\\n\"x\"', 'text', NULL, '2026-03-05 14:07:31.25+01', 'ann', NULL),
                    ('{INCIDENT}', 'file', '', NULL, '/srv/x', '2026-03-04 00:00:00+00', 'bob', 'abc'),
                    ('{INCIDENT}', 'file', '', NULL, '/srv/y', '2026-03-06 00:00:00.000001+00', 'bob', NULL)"
    );
    sql(&mut owner, &rows).await;
    store::migrate(&mut owner).await.unwrap();

    let records = incident_evidence::records(&mut owner, INCIDENT)
        .await
        .unwrap();
    let by: Vec<&str> = records.iter().map(|record| record.by.as_str()).collect();
    assert_eq!(by, ["bob", "ann", "bob"]);
    assert_eq!(records[0].tenant, TenantId::DEFAULT.0);
    assert_eq!(verify(&records, None).faults, []);
    let known = incident_evidence::witnesses(&mut owner, INCIDENT, &records)
        .await
        .unwrap();
    assert_eq!(verify(&records, Some(&known)).faults, []);
    let next = add(&mut owner, note("the first of the chain"))
        .await
        .unwrap();
    assert_eq!((next.sequence, &next.previous), (4, &records[2].hash));
}
