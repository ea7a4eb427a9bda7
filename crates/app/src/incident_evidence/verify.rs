//! Whether evidence is what was taken in.

use config::StateDir;
use model::{EvidenceRecord, IncidentId};
use respond::chain;
use serde::Serialize;
use store::PgConnection;
use uuid::Uuid;

use super::{files, find};
use crate::actor::Resource;
use crate::{AppError, Session};

/// What no look at a chain can tell.
pub const CANNOT_KNOW: &str = "The chain, its files and the audit log were compared with each other. \
    Whoever changes all three alike leaves no trace here: compare the number of records and the last \
    hash with the newest exported manifest, which is signed.";

/// What is wrong with a chain or a file.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// The place in the chain.
    pub number: i64,
    /// The record, where it is known.
    pub id: Option<Uuid>,
    /// What is wrong.
    pub problem: String,
}

/// What a look at the chain of an incident found.
#[derive(Clone, Debug, Serialize)]
pub struct ChainReport {
    /// The incident.
    pub incident_id: IncidentId,
    /// How many records there are.
    pub records: usize,
    /// How many of them are items.
    pub items: usize,
    /// The hash of the last record.
    pub head: String,
    /// What is wrong, in the order of the chain.
    pub problems: Vec<Problem>,
    /// What could not be checked.
    pub unchecked: Vec<String>,
}

/// Checks the chain of an incident, or of all, with every file.
pub async fn verify(
    session: &mut Session,
    state: &StateDir,
    incident: Option<&str>,
) -> Result<Vec<ChainReport>, AppError> {
    let conn = session.read(Resource::Incidents)?;
    let incidents = match incident {
        Some(id) => vec![find(conn, id).await?],
        None => store::incident_evidence::incidents(conn).await?,
    };
    let mut reports = Vec::with_capacity(incidents.len());
    for incident in incidents {
        let (verdict, records) = check_chain(conn, incident).await?;
        reports.push(with_files(incident, &verdict, &records, state));
    }
    Ok(reports)
}

/// Checks the records of a chain, beside the audit log.
pub(super) async fn check_chain(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<(chain::Verdict, Vec<EvidenceRecord>), AppError> {
    // Of one moment: what is added in between would be missing from one of both.
    let mut tx = store::snapshot(conn).await?;
    let records = store::incident_evidence::records(&mut tx, incident).await?;
    let known = store::incident_evidence::witnesses(&mut tx, incident, &records).await?;
    tx.commit().await.map_err(store::StoreError::from)?;
    Ok((chain::verify(&records, Some(&known)), records))
}

/// Adds what is wrong with the files.
fn with_files(
    incident: IncidentId,
    verdict: &chain::Verdict,
    records: &[EvidenceRecord],
    state: &StateDir,
) -> ChainReport {
    let of_chain = verdict.faults.iter().map(|fault| Problem {
        number: fault.sequence(),
        id: fault.id(),
        problem: fault.to_string(),
    });
    let mut problems: Vec<Problem> = of_chain.collect();
    let mut unchecked = Vec::new();
    for record in records {
        match check_file(record, state) {
            FileState::Whole => {}
            FileState::Wrong(problem) => problems.push(Problem {
                number: record.sequence,
                id: Some(record.id),
                problem,
            }),
            FileState::Unchecked(why) => unchecked.push(why),
        }
    }
    problems.sort_by_key(|problem| problem.number);
    ChainReport {
        incident_id: incident,
        records: verdict.records,
        items: verdict.items,
        head: verdict.head.clone(),
        problems,
        unchecked,
    }
}

enum FileState {
    Whole,
    Wrong(String),
    Unchecked(String),
}

/// Whether the file of an item is what was taken in.
fn check_file(record: &EvidenceRecord, state: &StateDir) -> FileState {
    let Some((item, path)) = record
        .item()
        .and_then(|item| Some((item, item.file_path.as_deref()?)))
    else {
        return FileState::Whole;
    };
    let named = format!(
        "the file of record {} ({}, {})",
        record.sequence,
        record.id,
        model::text::sanitize(item.file_name.as_deref().unwrap_or(path))
    );
    let Some(recorded) = &item.sha256 else {
        return FileState::Unchecked(format!(
            "{named} cannot be checked: it was recorded without a hash, before there was a chain"
        ));
    };
    let Some(place) = files::place(state, path) else {
        return FileState::Unchecked(format!(
            "{named} cannot be checked: it is not kept by blueteam"
        ));
    };

    match files::hash(&place) {
        Ok(Some(now)) if now == *recorded => FileState::Whole,
        Ok(Some(now)) => FileState::Wrong(format!(
            "{named} was changed: its SHA-256 is {now}, and was {recorded}"
        )),
        Ok(None) => FileState::Wrong(format!("{named} is gone")),
        Err(error) => FileState::Wrong(format!("{named} cannot be read: {error}")),
    }
}
