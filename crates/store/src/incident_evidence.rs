//! Evidence of incidents: the records of its chain, as they are stored, and what the audit log says
//! about them.

use std::ops::RangeInclusive;

use model::{
    CustodyEntry, EvidenceEntry, EvidenceItem, EvidenceRecord, EvidenceWitness, IncidentId,
    IncidentStatus, Timestamp,
};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::Ts;

/// What the next record of a chain begins with.
#[derive(Clone, Debug)]
pub struct ChainEnd {
    /// The incident.
    pub incident: IncidentId,
    /// Where it stands.
    pub status: IncidentStatus,
    /// The incident that it was merged into.
    pub merged_into: Option<IncidentId>,
    /// Its tenant.
    pub tenant: Uuid,
    /// The place of the last record; 0 of an empty chain.
    pub sequence: i64,
    /// The hash of the last record; zeros of an empty chain.
    pub hash: String,
    /// Who acts, and for whom.
    pub actor: String,
    /// The database login.
    pub login: String,
    /// The database's time.
    pub at: Timestamp,
}

/// Holds an incident until the transaction ends, so that nobody else adds to its chain. None when
/// there is no such incident.
pub async fn hold(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Option<ChainEnd>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT state AS "state!", merged_into, tenant, sequence AS "sequence!",
                  previous_hash AS "hash!", actor AS "actor!", login AS "login!", at AS "at!: Ts"
           FROM blueteam.hold_evidence($1)"#,
        incident.0
    )
    .fetch_one(conn)
    .await?;
    let Some(tenant) = row.tenant else {
        return Ok(None);
    };

    Ok(Some(ChainEnd {
        incident,
        status: row
            .state
            .parse()
            .map_err(|e| StoreError::corrupt("security_incidents.status", e))?,
        merged_into: row.merged_into.map(IncidentId),
        tenant,
        sequence: row.sequence,
        hash: row.hash,
        actor: row.actor,
        login: row.login,
        at: row.at.0,
    }))
}

/// Adds a record at the end of its chain, in the transaction that holds the incident.
pub async fn append(conn: &mut PgConnection, record: &EvidenceRecord) -> Result<(), StoreError> {
    match &record.what {
        EvidenceEntry::Item(item) => {
            let row = json!({
                "evidence_id": record.id,
                "incident_id": record.incident,
                "tenant_id": record.tenant,
                "sequence": record.sequence,
                "previous_hash": record.previous,
                "record_hash": record.hash,
                "collected_by": record.by,
                "login": record.login,
                "collected_at": record.at,
                "evidence_type": item.kind,
                "description": item.description,
                "content": item.content,
                "file_path": item.file_path,
                "hash_sha256": item.sha256,
                "size_bytes": item.size,
                "media_type": item.media_type,
                "file_name": item.file_name,
                "original_name": item.original_name,
                "query": item.query,
                "sealed_to": item.sealed_to,
                "sample_sha256": item.sample_sha256,
                "sample_bytes": item.sample_size,
            });
            sqlx::query!("SELECT blueteam.append_evidence($1)", row)
                .execute(conn)
                .await?;
        }
        EvidenceEntry::Custody(entry) => {
            let row = json!({
                "custody_id": record.id,
                "incident_id": record.incident,
                "tenant_id": record.tenant,
                "sequence": record.sequence,
                "previous_hash": record.previous,
                "record_hash": record.hash,
                "recorded_by": record.by,
                "login": record.login,
                "recorded_at": record.at,
                "evidence_id": entry.evidence,
                "event": entry.event,
                "party": entry.party,
                "remark": entry.remark,
            });
            sqlx::query!("SELECT blueteam.append_custody($1)", row)
                .execute(conn)
                .await?;
        }
    }
    Ok(())
}

/// The records of an incident's chain, the first one first.
pub async fn records(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Vec<EvidenceRecord>, StoreError> {
    let items = sqlx::query!(
        r#"SELECT evidence_id, tenant_id, sequence, previous_hash, record_hash, collected_by, login,
                  collected_at AS "collected_at: Ts", evidence_type, description, content, file_path,
                  hash_sha256, size_bytes, media_type, file_name, original_name, query, sealed_to,
                  sample_sha256, sample_bytes
           FROM blueteam.incident_evidence
           WHERE incident_id = $1"#,
        incident.0
    )
    .fetch_all(&mut *conn)
    .await?;
    let custody = sqlx::query!(
        r#"SELECT custody_id, tenant_id, sequence, previous_hash, record_hash, recorded_by, login,
                  recorded_at AS "recorded_at: Ts", evidence_id, event, party, remark
           FROM blueteam.incident_custody
           WHERE incident_id = $1"#,
        incident.0
    )
    .fetch_all(conn)
    .await?;

    let items = items.into_iter().map(|row| EvidenceRecord {
        tenant: row.tenant_id,
        incident,
        sequence: row.sequence,
        previous: row.previous_hash,
        hash: row.record_hash,
        id: row.evidence_id,
        by: row.collected_by,
        login: row.login,
        at: row.collected_at.0,
        what: EvidenceEntry::Item(Box::new(EvidenceItem {
            kind: row.evidence_type,
            description: row.description,
            content: row.content,
            file_path: row.file_path,
            sha256: row.hash_sha256,
            size: row.size_bytes,
            media_type: row.media_type,
            file_name: row.file_name,
            original_name: row.original_name,
            query: row.query,
            sealed_to: row.sealed_to,
            sample_sha256: row.sample_sha256,
            sample_size: row.sample_bytes,
        })),
    });
    let custody = custody.into_iter().map(|row| EvidenceRecord {
        tenant: row.tenant_id,
        incident,
        sequence: row.sequence,
        previous: row.previous_hash,
        hash: row.record_hash,
        id: row.custody_id,
        by: row.recorded_by,
        login: Some(row.login),
        at: row.recorded_at.0,
        what: EvidenceEntry::Custody(CustodyEntry {
            evidence: row.evidence_id,
            event: row.event,
            party: row.party,
            remark: row.remark,
        }),
    });
    let mut records: Vec<EvidenceRecord> = items.chain(custody).collect();
    records.sort_by_key(|record| (record.sequence, record.id));
    Ok(records)
}

/// What the audit log says about the records that an incident's chain has and had: of each, what it
/// was when it was recorded.
pub async fn witnesses(
    conn: &mut PgConnection,
    incident: IncidentId,
    records: &[EvidenceRecord],
) -> Result<Vec<EvidenceWitness>, StoreError> {
    let ids: Vec<String> = records.iter().map(|record| record.id.to_string()).collect();
    let rows = sqlx::query_file!(
        "src/incident_evidence/witnesses.sql",
        incident.0.to_string(),
        &ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| EvidenceWitness {
            incident: IncidentId(row.incident_id),
            sequence: row.sequence,
            id: row.id,
            hash: row.hash,
            changed: row.changed,
        })
        .collect())
}

/// The incidents that have evidence, or had by the audit log.
pub async fn incidents(conn: &mut PgConnection) -> Result<Vec<IncidentId>, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"SELECT incident_id AS "incident_id!" FROM blueteam.incident_evidence
           UNION
           SELECT incident_id FROM blueteam.incident_custody
           UNION
           SELECT (new_value ->> 'incident_id')::uuid FROM audit.audit_log
            WHERE new_value ? 'record_hash' AND new_value ->> 'record_hash' IS NOT NULL
           ORDER BY 1"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(IncidentId).collect())
}

/// The incidents with an id from the first to the last of these: two at most, which is enough to
/// say that there are several.
pub async fn alike(
    conn: &mut PgConnection,
    ids: RangeInclusive<Uuid>,
) -> Result<Vec<IncidentId>, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"SELECT incident_id FROM blueteam.security_incidents
            WHERE incident_id BETWEEN $1 AND $2 ORDER BY incident_id LIMIT 2"#,
        ids.start(),
        ids.end()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(IncidentId).collect())
}

/// What a manifest says about an incident.
pub async fn about(conn: &mut PgConnection, incident: IncidentId) -> Result<Value, StoreError> {
    let about = sqlx::query_scalar!(
        r#"SELECT jsonb_build_object('incident_id', incident_id, 'tenant_id', tenant_id, 'title', title, 'severity', severity,
                  'status', status, 'detected_at', to_char(detected_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                  'cui_involved', cui_involved) AS "about!"
             FROM blueteam.security_incidents WHERE incident_id = $1"#,
        incident.0
    )
    .fetch_one(conn)
    .await?;
    Ok(about)
}
