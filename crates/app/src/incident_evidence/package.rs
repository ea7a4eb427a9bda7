//! The evidence of an incident as a signed ZIP.

use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use model::{Clock as _, CustodyEntry, CustodyEvent, EvidenceRecord, IncidentId, SystemClock};
use respond::package::{Case, Package, PackageError, Packed, PackedFile, file_name};
use rustix::fs::OFlags;
use serde::Serialize;

use super::key::signing_key;
use super::verify::check_chain;
use super::{Keeping, files, find, folder_of, happened, leaves};
use crate::actor::{Action, Resource};
use crate::compliance::evidence_store::open_regular;
use crate::{AppError, Session, temp_files};

/// A package that was written.
#[derive(Debug, Serialize)]
pub struct PackageWritten {
    /// The incident.
    pub incident_id: IncidentId,
    /// How many records it has.
    pub records: usize,
    /// What it is.
    #[serde(flatten)]
    pub packed: Packed,
    /// What is wrong with the chain or a file: it is in the package as it was found.
    pub problems: Vec<String>,
}

/// Writes the evidence of an incident to a ZIP that must not exist: every record, every file, a
/// signed manifest, and how to check it. What is not what was taken in is named, and goes along.
pub async fn export_package(
    session: &mut Session,
    keeping: Keeping<'_>,
    incident: &str,
    to: &Path,
) -> Result<PackageWritten, AppError> {
    session.require(Action::Export, Resource::Incidents)?;
    if to.exists() {
        return Err(AppError::invalid(format!(
            "{} exists; name another file",
            to.display()
        )));
    }
    let key = signing_key(keeping.state, keeping.config)?;
    let incident = find(session.read(Resource::Incidents)?, incident).await?;

    // Recorded before it leaves, so that the package has the record of itself.
    let entry = CustodyEntry {
        evidence: None,
        event: CustodyEvent::Exported.as_str().to_owned(),
        party: None,
        remark: Some(format!(
            "as a package, signed by the key {}",
            key.about().id
        )),
    };
    happened(session, incident, entry).await?;
    let by = session.actor().to_string();
    let conn = session.read(Resource::Incidents)?;
    let about = store::incident_evidence::about(conn, incident).await?;
    let (verdict, records) = check_chain(conn, incident).await?;
    leaves(session, &incident, verdict.items as u64).await?;

    let folder = folder_of(to);
    let file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    let _held = temp_files::hold(file.path());
    let now = SystemClock.now();
    let mut package = Package::begin(BufWriter::new(file), now).map_err(failed)?;
    for record in &records {
        pack(&mut package, record, keeping)?;
    }
    let case = Case {
        incident: about,
        records: &records,
        verdict: &verdict,
        at: now,
        by: &by,
        program: concat!("blueteam ", env!("CARGO_PKG_VERSION")),
    };
    let (packed, written) = package.end(&case, &key).map_err(failed)?;
    let file = written
        .into_inner()
        .map_err(|error| anyhow!("cannot write {}: {}", to.display(), error.error()))?;
    file.as_file()
        .sync_all()
        .with_context(|| format!("cannot write {}", to.display()))?;
    file.persist_noclobber(to)
        .map_err(|error| anyhow!(error.error).context(format!("cannot write {}", to.display())))?;

    let of_chain = verdict.faults.iter().map(ToString::to_string);
    let of_files = packed
        .files
        .iter()
        .filter(|file| !file.is_whole())
        .map(|file| {
            let what = if file.sha256.is_none() {
                "gone"
            } else {
                "not what was taken in"
            };
            format!("{} is {what}", file.name)
        });
    Ok(PackageWritten {
        incident_id: incident,
        records: records.len(),
        problems: of_chain.chain(of_files).collect(),
        packed,
    })
}

/// Adds the content of an item.
fn pack<W: std::io::Write + std::io::Seek>(
    package: &mut Package<W>,
    record: &EvidenceRecord,
    keeping: Keeping<'_>,
) -> Result<(), AppError> {
    let Some(item) = record.item() else {
        return Ok(());
    };
    let described = PackedFile {
        name: file_name(record.sequence, record),
        sha256: None,
        size: item.size.unwrap_or_default().unsigned_abs(),
        evidence_id: Some(record.id),
        sequence: Some(record.sequence),
        recorded_sha256: item.sha256.clone(),
        sealed_to: item.sealed_to.clone(),
    };
    match (&item.content, &item.file_path) {
        (Some(text), _) => package.add(described, text.as_bytes()).map_err(failed),
        (None, Some(path)) => {
            let place = files::place(keeping.state, path);
            let opened = place.map(|place| open_regular(&place, OFlags::NOFOLLOW));
            if let Some(Ok(file)) = opened {
                package.add(described, file).map_err(failed)
            } else {
                package.add_missing(described);
                Ok(())
            }
        }
        (None, None) => Ok(()),
    }
}

fn failed(error: PackageError) -> AppError {
    AppError::Failed(error.into())
}
