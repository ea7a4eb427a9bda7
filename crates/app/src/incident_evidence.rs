//! Evidence of incidents (3.6.2): taken in, shown, handed on and out, and checked. Each item and
//! all that happens to it is a record of the incident's chain (decision 0062).

mod excerpt;
mod files;
mod key;
mod package;
mod verify;
mod views;

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use config::{Incidents, StateDir};
use model::{
    CustodyEntry, CustodyEvent, EvidenceEntry, EvidenceItem, EvidenceRecord, IncidentEvidenceKind,
    IncidentId, TenantId,
};
use respond::chain::sealed;
use respond::sealing::Recipient;
use respond::{media, names};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use store::PgConnection;
use store::incident_evidence::ChainEnd;
use uuid::Uuid;

use self::files::{Incoming, Kept};
use crate::actor::{Action, Resource};
use crate::compliance::evidence_store::{open_regular, sha256, to_hex};
use crate::export::{self, Exported};
use crate::short_ids::{pick, range};
use crate::{AppError, Session, temp_files};

pub use excerpt::{Excerpt, Excerpted, LIMIT_MAX, excerpt};
pub use files::FILE_MAX;
pub use key::about_key;
pub use package::{PackageWritten, export_package};
pub use respond::signing::PublicAbout;
pub use verify::{CANNOT_KNOW, ChainReport, Problem, verify};
pub use views::{CustodyView, ItemView, Listing};

/// The longest text that is taken in as it is, in bytes; a longer one is a file.
const TEXT_MAX: usize = 64 << 10;
/// The most of a text that is shown, in bytes.
pub const SHOWN_MAX: u64 = 1 << 20;
/// How long what an item shows may be, in characters.
const SHOWS: std::ops::RangeInclusive<usize> = 3..=500;
/// The longest name of whom it came from or went to, in characters.
const PARTY_MAX: usize = 500;
/// The longest remark, in characters.
const REMARK_MAX: usize = 4000;

/// What evidence is kept with.
#[derive(Clone, Copy, Debug)]
pub struct Keeping<'a> {
    /// Where the files are.
    pub state: &'a StateDir,
    /// `[incidents]`.
    pub config: &'a Incidents,
}

/// Where an item comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A file, which is copied.
    File(&'a Path),
    /// A text.
    Text(&'a str),
}

/// An item to be taken in.
#[derive(Clone, Copy, Debug)]
pub struct NewItem<'a> {
    /// The incident, or the first characters of its ID.
    pub incident: &'a str,
    /// Where it comes from.
    pub source: Source<'a>,
    /// What it is.
    pub kind: IncidentEvidenceKind,
    /// What it shows, in a sentence.
    pub shows: &'a str,
    /// Who handed it over.
    pub from: Option<&'a str>,
    /// Whether it is a sample of malware: kept encrypted, and never shown.
    pub is_malware: bool,
}

/// Takes an item in. Its file is whole and on disk before there is a record of it.
pub async fn add(
    session: &mut Session,
    keeping: Keeping<'_>,
    new: &NewItem<'_>,
) -> Result<ItemView, AppError> {
    session.require(Action::Write, Resource::Incidents)?;
    let shows = described(new.shows)?;
    let party = new.from.map(|from| party("--from", from)).transpose()?;
    let seal = if new.is_malware {
        Some(recipient(keeping.config)?)
    } else {
        None
    };
    let (incident, tenant) = open_incident(session, new.incident).await?;

    let item = EvidenceItem {
        kind: new.kind.as_str().to_owned(),
        description: shows,
        ..EvidenceItem::default()
    };
    let (item, remark) = match new.source {
        Source::Text(_) if new.is_malware => {
            return Err(AppError::invalid("--malware: a sample is a file"));
        }
        Source::Text(text) => (with_text(item, text)?, "typed in".to_owned()),
        Source::File(path) => {
            let given = path.to_string_lossy();
            let from = open_regular(path, OFlags::empty())
                .with_context(|| format!("cannot open {}", path.display()))?;
            let mut incoming = Incoming::begin(keeping.state, tenant, seal.as_ref())?;
            incoming.write_all_of(from, &given)?;
            let name = path.file_name().map(|name| name.to_string_lossy());
            let item = with_file(item, incoming.end()?, name.as_deref().unwrap_or_default());
            let host = session.actor().origin.host.clone().unwrap_or_default();
            let remark = format!("copied from {}:{}", host, names::original(&given));
            (item, remark)
        }
    };
    let record = take_in(session, incident, item, party, Some(remark)).await?;
    Ok(ItemView::of(&record, &[]))
}

/// Adds an item to the chain of its incident, and that it was collected.
async fn take_in(
    session: &mut Session,
    incident: IncidentId,
    item: EvidenceItem,
    party: Option<String>,
    remark: Option<String>,
) -> Result<EvidenceRecord, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Incidents)?;
    let mut tx = store::begin(conn, actor).await?;
    let end = held(&mut tx, incident).await?;
    refuse_closed(&end)?;

    let record = follow(&end, EvidenceEntry::Item(Box::new(item)));
    let collected = CustodyEntry {
        evidence: Some(record.id),
        event: CustodyEvent::Collected.as_str().to_owned(),
        party,
        remark,
    };
    let next = ChainEnd {
        sequence: record.sequence,
        hash: record.hash.clone(),
        ..end
    };
    let collected = follow(&next, EvidenceEntry::Custody(collected));
    store::incident_evidence::append(&mut tx, &record).await?;
    store::incident_evidence::append(&mut tx, &collected).await?;
    tx.commit().await.map_err(store::StoreError::from)?;
    Ok(record)
}

/// Adds what happened to an item, or to all of them, to the chain.
async fn happened(
    session: &mut Session,
    incident: IncidentId,
    entry: CustodyEntry,
) -> Result<EvidenceRecord, AppError> {
    let (conn, actor) = session.parts();
    let mut tx = store::begin(conn, actor).await?;
    let end = held(&mut tx, incident).await?;
    let record = follow(&end, EvidenceEntry::Custody(entry));
    store::incident_evidence::append(&mut tx, &record).await?;
    tx.commit().await.map_err(store::StoreError::from)?;
    Ok(record)
}

async fn held(conn: &mut PgConnection, incident: IncidentId) -> Result<ChainEnd, AppError> {
    let end = store::incident_evidence::hold(conn, incident).await?;
    end.ok_or_else(|| AppError::not_found("the incident is gone"))
}

fn follow(end: &ChainEnd, what: EvidenceEntry) -> EvidenceRecord {
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

/// A closed incident stays as it is; what was merged is part of another one.
fn refuse_closed(end: &ChainEnd) -> Result<(), AppError> {
    let incident = end.incident;
    match end.merged_into {
        Some(into) => Err(AppError::invalid(format!(
            "the incident {incident} was merged into {into}: add the evidence there"
        ))),
        None if end.status == model::IncidentStatus::Closed => Err(AppError::invalid(format!(
            "the incident {incident} is closed, and takes no more evidence: reopen it first"
        ))),
        None => Ok(()),
    }
}

/// The incident of an ID, if it takes evidence, and its tenant.
async fn open_incident(
    session: &mut Session,
    id: &str,
) -> Result<(IncidentId, TenantId), AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Incidents)?;
    let incident = find(conn, id).await?;
    // Asked before gigabytes are copied, and again when the record is written.
    let mut tx = store::begin(conn, actor).await?;
    let end = held(&mut tx, incident).await?;
    tx.rollback().await.map_err(store::StoreError::from)?;
    refuse_closed(&end)?;
    Ok((incident, TenantId(end.tenant)))
}

/// The incident whose ID begins like this.
async fn find(conn: &mut PgConnection, id: &str) -> Result<IncidentId, AppError> {
    let alike = match range(id) {
        Some(ids) => store::incident_evidence::alike(conn, ids).await?,
        None => Vec::new(),
    };
    pick(
        alike,
        id,
        |incident| incident.0,
        "incident",
        "blueteam incidents list --all",
    )
}

/// To whom samples of malware are encrypted.
fn recipient(config: &Incidents) -> Result<Recipient, AppError> {
    if config.malware_recipient.is_empty() {
        return Err(AppError::invalid(
            "--malware: samples are kept encrypted, and nobody is named who could decrypt them; set \
             `malware_recipient` of [incidents] to the public key that `age-keygen` prints (age1…)",
        ));
    }
    Recipient::parse(&config.malware_recipient)
        .map_err(|error| AppError::invalid(format!("incidents.malware_recipient: {error}")))
}

fn described(shows: &str) -> Result<String, AppError> {
    let shows = shows.trim();
    if !SHOWS.contains(&shows.chars().count()) || shows.contains('\0') {
        return Err(AppError::invalid(format!(
            "--shows: from {} to {} characters",
            SHOWS.start(),
            SHOWS.end()
        )));
    }
    Ok(shows.to_owned())
}

fn party(option: &str, name: &str) -> Result<String, AppError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > PARTY_MAX || name.contains('\0') {
        return Err(AppError::invalid(format!(
            "{option}: from 1 to {PARTY_MAX} characters"
        )));
    }
    Ok(name.to_owned())
}

fn remark(text: &str) -> Result<String, AppError> {
    if text.chars().count() > REMARK_MAX || text.contains('\0') {
        return Err(AppError::invalid(format!(
            "--remark: at most {REMARK_MAX} characters"
        )));
    }
    Ok(text.trim().to_owned())
}

fn with_text(item: EvidenceItem, text: &str) -> Result<EvidenceItem, AppError> {
    if text.trim().is_empty() || text.len() > TEXT_MAX || text.contains('\0') {
        return Err(AppError::invalid(format!(
            "--text: from one character to {} KiB, without NUL; a longer one is a file",
            TEXT_MAX >> 10
        )));
    }
    Ok(EvidenceItem {
        sha256: Some(sha256(text.as_bytes())),
        size: Some(text.len() as i64),
        media_type: Some(media::of(text.as_bytes()).to_owned()),
        content: Some(text.to_owned()),
        ..item
    })
}

fn with_file(item: EvidenceItem, kept: Kept, name: &str) -> EvidenceItem {
    let sample = kept.sample;
    EvidenceItem {
        file_path: Some(kept.path),
        sha256: Some(kept.sha256),
        size: Some(kept.size as i64),
        media_type: Some(kept.media_type.to_owned()),
        file_name: Some(names::sanitize(name)),
        original_name: Some(names::original(name)),
        sealed_to: sample.as_ref().map(|sample| sample.sealed_to.clone()),
        sample_sha256: sample.as_ref().map(|sample| sample.sha256.clone()),
        sample_size: sample.map(|sample| sample.size as i64),
        ..item
    }
}

/// The items of an incident, the first one first.
pub async fn list(session: &mut Session, incident: &str) -> Result<Listing, AppError> {
    let conn = session.read(Resource::Incidents)?;
    let incident = find(conn, incident).await?;
    let records = store::incident_evidence::records(conn, incident).await?;
    Ok(Listing::of(incident, &records))
}

/// An item, with what happened to it.
pub async fn show(session: &mut Session, incident: &str, item: &str) -> Result<ItemView, AppError> {
    let conn = session.read(Resource::Incidents)?;
    let (record, records) = find_item(conn, incident, item).await?;
    Ok(ItemView::of(&record, &records))
}

/// An item by its number in the chain, or by its ID; and all records beside it.
async fn find_item(
    conn: &mut PgConnection,
    incident: &str,
    item: &str,
) -> Result<(EvidenceRecord, Vec<EvidenceRecord>), AppError> {
    let incident = find(conn, incident).await?;
    let records = store::incident_evidence::records(conn, incident).await?;
    let items = || records.iter().filter(|record| record.item().is_some());
    let number = item.strip_prefix('#').unwrap_or(item).parse::<i64>().ok();
    let by_number = number.and_then(|number| items().find(|record| record.sequence == number));
    let record = match by_number {
        Some(record) => record.clone(),
        None => pick(
            items().cloned().collect(),
            item,
            |record| record.id,
            "item of evidence",
            &format!("blueteam incidents evidence list {incident}"),
        )?,
    };
    Ok((record, records))
}

/// The content of an item, to be shown.
#[derive(Debug)]
pub struct Content {
    /// The item.
    pub item: ItemView,
    /// Its text, or as much of it as is shown.
    pub text: String,
    /// Whether there is more.
    pub is_cut: bool,
}

/// Reads the text of an item, to show it, which is recorded. It must still be what was taken in;
/// malware is never shown, nor is what is no text.
pub async fn view(
    session: &mut Session,
    state: &StateDir,
    incident: &str,
    item: &str,
) -> Result<Content, AppError> {
    let conn = session.read(Resource::Incidents)?;
    let (record, _) = find_item(conn, incident, item).await?;
    let held = record.item().cloned().unwrap_or_default();
    if held.is_malware() {
        return Err(AppError::invalid(format!(
            "item {} is a sample of malware, which is never shown: `incidents evidence export` \
             writes the encrypted file",
            record.sequence
        )));
    }
    let is_text = held.media_type.as_deref().is_none_or(media::is_text);
    if !is_text {
        return Err(AppError::invalid(format!(
            "item {} is {}, which is not text: `incidents evidence export` writes the file",
            record.sequence,
            held.media_type.unwrap_or_default()
        )));
    }

    let (bytes, is_cut) = match (&held.content, &held.file_path) {
        (Some(text), _) => (text.clone().into_bytes(), false),
        (None, Some(path)) => read_beginning(state, &record, path).await?,
        (None, None) => {
            return Err(AppError::not_found(format!(
                "item {} has no content of its own",
                record.sequence
            )));
        }
    };
    let entry = CustodyEntry {
        evidence: Some(record.id),
        event: CustodyEvent::Viewed.as_str().to_owned(),
        party: None,
        remark: None,
    };
    happened(session, record.incident, entry).await?;
    let records =
        store::incident_evidence::records(session.read(Resource::Incidents)?, record.incident)
            .await?;
    Ok(Content {
        item: ItemView::of(&record, &records),
        text: String::from_utf8_lossy(&bytes).into_owned(),
        is_cut,
    })
}

async fn read_beginning(
    state: &StateDir,
    record: &EvidenceRecord,
    path: &str,
) -> Result<(Vec<u8>, bool), AppError> {
    let file = whole_file(state, record, path).await?;
    let mut bytes = Vec::new();
    file.take(SHOWN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(anyhow::Error::new)?;
    let is_cut = bytes.len() as u64 > SHOWN_MAX;
    bytes.truncate(SHOWN_MAX as usize);
    Ok((bytes, is_cut))
}

/// The file of an item, if it is what was taken in.
async fn whole_file(
    state: &StateDir,
    record: &EvidenceRecord,
    path: &str,
) -> Result<std::fs::File, AppError> {
    let recorded = record.item().and_then(|item| item.sha256.as_deref());
    let place = files::place(state, path).ok_or_else(|| not_kept_here(record))?;
    // Gigabytes are read, and others wait for this thread.
    let looked_at = place.clone();
    let now = tokio::task::spawn_blocking(move || files::hash(&looked_at))
        .await
        .map_err(anyhow::Error::new)??;
    if now.is_none() || now.as_deref() != recorded {
        return Err(AppError::conflict(format!(
            "the file of item {} is {}: `blueteam incidents verify` says more",
            record.sequence,
            if now.is_none() {
                "gone"
            } else {
                "not what was taken in"
            }
        )));
    }
    let file = open_regular(&place, OFlags::NOFOLLOW)
        .with_context(|| format!("cannot open {}", place.display()))?;
    Ok(file)
}

fn not_kept_here(record: &EvidenceRecord) -> AppError {
    AppError::conflict(format!(
        "the file of item {} is not kept by blueteam: it was recorded before there was a chain",
        record.sequence
    ))
}

/// A file that leaves, and what it is.
#[derive(Debug)]
pub struct Download {
    /// The item.
    pub item: ItemView,
    /// The name to give it: of malware, of the encrypted file.
    pub name: String,
    /// What it is; of malware, nothing that a program opens by itself.
    pub media_type: &'static str,
    /// Its content.
    pub content: Leaving,
}

/// The content of what leaves.
#[derive(Debug)]
pub enum Leaving {
    /// A text.
    Text(String),
    /// A file.
    File(std::fs::File),
}

/// Lets an item leave as a file, which is recorded before it does. It must still be what was taken
/// in. Of malware, the encrypted file leaves.
pub async fn download(
    session: &mut Session,
    state: &StateDir,
    incident: &str,
    item: &str,
) -> Result<Download, AppError> {
    let conn = session.export(Resource::Incidents)?;
    let (record, _) = find_item(conn, incident, item).await?;
    let held = record.item().cloned().unwrap_or_default();
    let content = match (held.content, &held.file_path) {
        (Some(text), _) => Leaving::Text(text),
        (None, Some(path)) => Leaving::File(whole_file(state, &record, path).await?),
        (None, None) => {
            return Err(AppError::not_found(format!(
                "item {} has no content of its own",
                record.sequence
            )));
        }
    };
    let name = respond::package::file_name(record.sequence, &record);
    let name = name.rsplit('/').next().unwrap_or(&name).to_owned();

    let entry = CustodyEntry {
        evidence: Some(record.id),
        event: CustodyEvent::Exported.as_str().to_owned(),
        party: None,
        remark: Some(format!("as the file {name}")),
    };
    happened(session, record.incident, entry).await?;
    leaves(session, &record.incident, 1).await?;
    Ok(Download {
        item: ItemView::of(&record, &[]),
        name,
        media_type: media::OTHER,
        content,
    })
}

/// Records in the audit log that evidence leaves.
async fn leaves(session: &mut Session, incident: &IncidentId, count: u64) -> Result<(), AppError> {
    let filters = [("incident_id".to_owned(), incident.to_string())];
    let exported = Exported {
        what: "incident evidence",
        filters: &filters,
        format: "file",
        count,
    };
    export::record(session, Resource::Incidents, &exported).await
}

/// Writes an item to a file that must not exist. Returns where it is.
pub async fn export_file(
    session: &mut Session,
    state: &StateDir,
    incident: &str,
    item: &str,
    to: &Path,
) -> Result<Download, AppError> {
    if to.exists() {
        return Err(AppError::invalid(format!(
            "{} exists; name another file",
            to.display()
        )));
    }
    let mut download = download(session, state, incident, item).await?;
    let folder = folder_of(to);
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    let _held = temp_files::hold(file.path());
    let mut hash = Sha256::new();
    let mut copy = |bytes: &[u8]| {
        hash.update(bytes);
        file.write_all(bytes)
            .with_context(|| format!("cannot write {}", to.display()))
    };
    match &mut download.content {
        Leaving::Text(text) => copy(text.as_bytes())?,
        Leaving::File(from) => {
            let mut buffer = vec![0; 1 << 18];
            loop {
                let read = from.read(&mut buffer).context("cannot read the file")?;
                if read == 0 {
                    break;
                }
                copy(&buffer[..read])?;
            }
        }
    }
    if Some(to_hex(&hash.finalize())) != download.item.sha256 {
        return Err(AppError::conflict(
            "the file was changed while it was copied: nothing was written",
        ));
    }
    file.as_file()
        .sync_all()
        .with_context(|| format!("cannot write {}", to.display()))?;
    file.persist_noclobber(to)
        .map_err(|error| anyhow!(error.error).context(format!("cannot write {}", to.display())))?;
    Ok(download)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Records that an item, or a copy of it, was handed to someone.
pub async fn transfer(
    session: &mut Session,
    incident: &str,
    item: &str,
    to: &str,
    why: Option<&str>,
) -> Result<ItemView, AppError> {
    let to = party("--to", to)?;
    let remark = why.map(remark).transpose()?;
    let (conn, _) = session.change(Action::Write, Resource::Incidents)?;
    let (record, _) = find_item(conn, incident, item).await?;
    let entry = CustodyEntry {
        evidence: Some(record.id),
        event: CustodyEvent::Transferred.as_str().to_owned(),
        party: Some(to),
        remark,
    };
    happened(session, record.incident, entry).await?;
    let conn = session.read(Resource::Incidents)?;
    let records = store::incident_evidence::records(conn, record.incident).await?;
    Ok(ItemView::of(&record, &records))
}
