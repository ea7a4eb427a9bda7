//! Evidence: what people take in, approve and look at. What checks take in is in [`super::checks`].

use std::path::Path;

use config::StateDir;
use model::{
    Actor, Clock as _, ControlId, Evidence, EvidenceId, EvidenceKind, ObjectiveId, Span,
    SystemClock, Timestamp, Validity,
};
use serde::Serialize;
use store::PgConnection;
use store::evidence::EvidenceFilter;
use uuid::Uuid;

use super::assessment::{REASON, meant};
use super::checks::{self, Replayed};
use super::evidence_store::{self, EvidenceStore};
use super::integrity::mark_tampered;
pub use super::media::Media;
use super::{find_requirement, ids};
use crate::actor::{Action, Resource};
use crate::export::{self, Exported};
use crate::{AppError, Session};

/// The largest file that is shown or downloaded, in octets.
const SHOWN_MAX: u64 = 100 << 20;
/// The largest text, in octets.
const TEXT_MAX: usize = 1 << 20;
/// The largest file that is taken in over the network, in octets.
pub const UPLOAD_MAX: usize = 25 << 20;
/// The longest name of a file, in octets.
const FILE_NAME_MAX: usize = 255;

/// Where a piece comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A file, which is copied.
    File(&'a Path),
    /// What a file holds that came over the network, by the name that its sender gave it.
    Upload {
        /// The name.
        name: &'a str,
        /// The content.
        bytes: &'a [u8],
    },
    /// A text.
    Text(&'a str),
}

/// A piece to be taken in.
#[derive(Clone, Copy, Debug)]
pub struct NewEvidence<'a> {
    /// Where it comes from.
    pub source: Source<'a>,
    /// Requirements (all of their objectives) and objectives that it supports.
    pub supports: &'a [String],
    /// What it is.
    pub kind: EvidenceKind,
    /// What it shows, in a sentence.
    pub shows: &'a str,
    /// From when on it says so; without it, now.
    pub effective: Option<Timestamp>,
    /// For how long from then on it counts; without it, without end.
    pub valid_for: Option<Span>,
    /// Who answers for it.
    pub owner: Option<&'a str>,
    /// Whether the actor approves it at once.
    pub approved: bool,
}

/// A piece, and how far it counts today.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// The piece.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// How far it counts.
    pub validity: Validity,
}

impl Listed {
    fn of(evidence: Evidence, now: Timestamp) -> Self {
        Self {
            validity: evidence.validity(now),
            evidence,
        }
    }
}

/// Takes a piece in. With `separate_approver`, another person must approve it.
pub async fn add(
    session: &mut Session,
    state: &StateDir,
    new: &NewEvidence<'_>,
    separate_approver: bool,
) -> Result<Evidence, AppError> {
    if new.approved {
        session.require(Action::Approve, Resource::Evidence)?;
    }
    let (conn, actor) = session.change(Action::Write, Resource::Evidence)?;
    if separate_approver && new.approved {
        return Err(AppError::conflict(format!(
            "--final: {} collects this piece, and another account approves it \
                (compliance.separate_approver); take it in as a draft",
            actor.name
        )));
    }

    let mut evidence = new_piece(new, actor, SystemClock.now())?;
    state.create()?;
    fill_content(&mut evidence, new.source, state)?;
    store::evidence::add(conn, actor, &evidence).await?;

    Ok(evidence)
}

/// The piece without its content.
fn new_piece(new: &NewEvidence<'_>, actor: &Actor, now: Timestamp) -> Result<Evidence, AppError> {
    let (control, objectives) = parse_supported(new.supports)?;
    let shows = new.shows.trim();
    if !(3..=500).contains(&shows.chars().count()) {
        return Err(AppError::invalid("--shows: from 3 to 500 characters"));
    }

    let effective = new.effective.unwrap_or(now);
    Ok(Evidence {
        objectives,
        description: shows.to_owned(),
        effective_at: Some(effective),
        valid_until: new.valid_for.map(|length| effective.plus(length)),
        owner: new.owner.map(str::to_owned),
        approved_by: new.approved.then(|| actor.to_string()),
        approved_at: new.approved.then_some(now),
        ..Evidence::draft(
            EvidenceId(Uuid::now_v7()),
            control,
            new.kind,
            &actor.to_string(),
            now,
        )
    })
}

/// The first requirement that is named, and every objective that is meant.
fn parse_supported(ids: &[String]) -> Result<(ControlId, Vec<ObjectiveId>), AppError> {
    let mut objectives: Vec<ObjectiveId> = Vec::new();
    let mut first = None;
    for id in ids {
        let (requirement, objective) = find_requirement(id)?;
        first.get_or_insert_with(|| requirement.control_id.clone());
        objectives.extend(meant(requirement, objective));
    }

    objectives.sort();
    objectives.dedup();

    let first =
        first.ok_or_else(|| AppError::invalid("--supports: name a requirement or an objective"))?;
    Ok((first, objectives))
}

/// Puts the content in: a file below the state directory, a text into the piece.
fn fill_content(
    evidence: &mut Evidence,
    source: Source<'_>,
    state: &StateDir,
) -> Result<(), AppError> {
    match source {
        Source::File(file) => {
            let name = file.file_name().and_then(|name| name.to_str());
            evidence.file_name = Some(file_name(name.unwrap_or_default())?);
            let kept = EvidenceStore::new(state.path()).take(file)?;
            set_file(evidence, kept);
        }
        Source::Upload { name, bytes } => {
            evidence.file_name = Some(file_name(name)?);
            if bytes.is_empty() || bytes.len() > UPLOAD_MAX {
                return Err(AppError::invalid(format!(
                    "a file that is uploaded has from 1 byte to {} MiB; `blueteam compliance evidence \
                        add` takes larger ones",
                    UPLOAD_MAX >> 20
                )));
            }
            let kept = EvidenceStore::new(state.path()).take_from(bytes)?;
            set_file(evidence, kept);
        }
        Source::Text(text) => {
            if text.trim().is_empty() || text.len() > TEXT_MAX {
                return Err(AppError::invalid("--text: from one character to 1 MiB"));
            }

            evidence.size_bytes = Some(text.len() as u64);
            evidence.sha256 = Some(evidence_store::sha256(text.as_bytes()));
            evidence.content = Some(text.to_owned());
        }
    }

    Ok(())
}

fn set_file(evidence: &mut Evidence, kept: evidence_store::Kept) {
    evidence.file_path = Some(kept.path);
    evidence.size_bytes = Some(kept.size);
    evidence.sha256 = Some(kept.sha256);
}

/// The name that the file had, if a list of hashes can hold it.
fn file_name(name: &str) -> Result<String, AppError> {
    let unfit = |c: char| c.is_control() || c == '\\' || c == '/';
    if name.is_empty() || name.len() > FILE_NAME_MAX || name.contains(unfit) {
        return Err(AppError::invalid(format!(
            "the name of the file must be UTF-8 without control characters and backslashes, and \
                at most {FILE_NAME_MAX} bytes long; rename it"
        )));
    }

    Ok(name.to_owned())
}

/// Which pieces somebody asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// For this requirement.
    pub control: Option<&'a str>,
    /// All results of checks, not only the last of each.
    pub all: bool,
    /// With one of these; when there is none, with any.
    pub validity: &'a [Validity],
}

/// The pieces that are asked for, by the time when they were taken in.
pub async fn list(
    session: &mut Session,
    state: &StateDir,
    filter: &Filter<'_>,
) -> Result<Vec<Listed>, AppError> {
    let conn = session.read(Resource::Evidence)?;
    let control = filter.control.map(find_requirement).transpose()?;
    let wanted = EvidenceFilter {
        control: control.map(|(requirement, _)| requirement.control_id.clone()),
        latest: !filter.all,
        ..EvidenceFilter::default()
    };

    let now = SystemClock.now();
    let mut pieces = store::evidence::list(conn, &wanted).await?;
    mark_tampered(conn, state, &mut pieces).await?;
    Ok(pieces
        .into_iter()
        .map(|evidence| Listed::of(evidence, now))
        .filter(|l| filter.validity.is_empty() || filter.validity.contains(&l.validity))
        .collect())
}

/// The piece whose id begins or ends like this.
pub async fn show(session: &mut Session, state: &StateDir, id: &str) -> Result<Listed, AppError> {
    let conn = session.read(Resource::Evidence)?;
    let mut piece = [one(conn, id).await?];
    mark_tampered(conn, state, &mut piece).await?;
    let [evidence] = piece;
    Ok(Listed::of(evidence, SystemClock.now()))
}

/// Makes a draft final, under the actor's name. With `separate_approver` that is not who collected
/// it, whomever either acted for.
pub async fn approve(
    session: &mut Session,
    id: &str,
    separate_approver: bool,
) -> Result<Listed, AppError> {
    let (conn, actor) = session.change(Action::Approve, Resource::Evidence)?;
    let draft = one(conn, id).await?;
    let is_collector = |by: &String| model::acting(by) == actor.name;
    if separate_approver && draft.collected_by.as_ref().is_some_and(is_collector) {
        return Err(AppError::conflict(format!(
            "{} collected {}, and another account approves it (compliance.separate_approver)",
            actor.name, draft.evidence_id
        )));
    }

    if let Some(refusal) = &draft.refused {
        return Err(AppError::conflict(format!(
            "{} was refused by {}: {}",
            draft.evidence_id, refusal.by, refusal.reason
        )));
    }

    let now = SystemClock.now();
    if !store::evidence::approve(conn, actor, draft.evidence_id, now).await? {
        return Err(AppError::conflict(format!(
            "{} is final already, by {}",
            draft.evidence_id,
            draft.approved_by.as_deref().unwrap_or("-")
        )));
    }

    let evidence = one(conn, &draft.evidence_id.to_string()).await?;
    Ok(Listed::of(evidence, now))
}

/// Refuses a draft, with the reason: it is never approved then.
pub async fn refuse(session: &mut Session, id: &str, reason: &str) -> Result<(), AppError> {
    let (conn, actor) = session.change(Action::Approve, Resource::Evidence)?;
    let reason = reason.trim();
    if !REASON.contains(&reason.chars().count()) {
        return Err(AppError::invalid(format!(
            "--reason: from {} to {} characters; whoever collected it will ask",
            REASON.start(),
            REASON.end()
        )));
    }

    let draft = one(conn, id).await?;
    let now = SystemClock.now();
    if !store::evidence::refuse(conn, actor, draft.evidence_id, reason, now).await? {
        return Err(AppError::conflict(format!(
            "{} is {} already",
            draft.evidence_id,
            if draft.refused.is_some() {
                "refused"
            } else {
                "final"
            }
        )));
    }
    Ok(())
}

/// The content of a piece, as it is kept.
#[derive(Debug)]
pub struct Content {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they are, by themselves: whatever the file is called.
    pub media: Media,
    /// The name that the file had.
    pub file_name: Option<String>,
}

/// Reads what a piece holds, to show it. It must still be what was taken in.
pub async fn content(
    session: &mut Session,
    state: &StateDir,
    id: &str,
) -> Result<Content, AppError> {
    let piece = one(session.read(Resource::Evidence)?, id).await?;
    content_of(&piece, state)
}

/// The same as a file to be taken along, which is recorded.
pub async fn download(
    session: &mut Session,
    state: &StateDir,
    id: &str,
) -> Result<Content, AppError> {
    let piece = one(session.export(Resource::Evidence)?, id).await?;
    let content = content_of(&piece, state)?;
    let filters = [("evidence_id".to_owned(), piece.evidence_id.to_string())];
    let exported = Exported {
        what: "evidence",
        filters: &filters,
        format: content.media.extension(),
        count: 1,
    };
    export::record(session, Resource::Evidence, &exported).await?;
    Ok(content)
}

fn content_of(piece: &Evidence, state: &StateDir) -> Result<Content, AppError> {
    let bytes = match (&piece.content, &piece.file_path) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(path)) => read_file(path, state)?,
        (None, None) => {
            return Err(AppError::not_found(format!(
                "{} has no content of its own",
                piece.evidence_id
            )));
        }
    };
    let is_whole = |hash: &String| *hash == evidence_store::sha256(&bytes);
    if !piece.sha256.as_ref().is_none_or(is_whole) {
        return Err(AppError::conflict(format!(
            "{} is not what was taken in: its hash differs (`blueteam compliance evidence verify`)",
            piece.evidence_id
        )));
    }

    Ok(Content {
        media: Media::of(&bytes),
        bytes,
        file_name: piece.file_name.clone(),
    })
}

fn read_file(path: &str, state: &StateDir) -> Result<Vec<u8>, AppError> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    let file = EvidenceStore::new(state.path()).open(path)?;
    file.take(SHOWN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(anyhow::Error::new)?;
    if bytes.len() as u64 > SHOWN_MAX {
        return Err(AppError::conflict(format!(
            "it has more than {} MiB, too much for a page; it is in the evidence folder of the state \
                directory",
            SHOWN_MAX >> 20
        )));
    }
    Ok(bytes)
}

/// A baseline, and who approved it.
#[derive(Debug)]
pub struct Baseline {
    /// The result of a check that later ones are compared with.
    pub evidence_id: EvidenceId,
    /// The actor.
    pub approved_by: String,
}

/// Makes a check's result the baseline that later ones are compared with (3.4.1).
pub async fn make_baseline(session: &mut Session, id: &str) -> Result<Baseline, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Evidence)?;
    let piece = one(conn, id).await?;
    let evidence_id = piece.evidence_id;
    let check = piece.recorded.as_ref().map(|r| r.check_id.as_str());
    if let Some(check) = check.filter(|check| *check != checks::BASELINE) {
        return Err(AppError::conflict(format!(
            "{evidence_id} is a result of {check}; only those of {} (3.4.1) are compared with a \
                baseline",
            checks::BASELINE
        )));
    }

    if !store::evidence::make_baseline(conn, actor, evidence_id).await? {
        return Err(AppError::conflict(format!(
            "{evidence_id} was not taken in by a check"
        )));
    }

    Ok(Baseline {
        evidence_id,
        approved_by: actor.to_string(),
    })
}

/// Has a check decide again from the facts that it recorded.
pub async fn replay(session: &mut Session, id: &str) -> Result<Replayed, AppError> {
    let piece = one(session.read(Resource::Evidence)?, id).await?;
    Ok(checks::replay(&piece)?)
}

/// The one piece whose id begins or ends like this.
pub(super) async fn one(conn: &mut PgConnection, text: &str) -> Result<Evidence, AppError> {
    let found = store::evidence::like(conn, &ids::typed(text)?).await?;
    let id = match found[..] {
        [id] => id,
        [] => {
            let see = "blueteam compliance evidence list --all";
            return Err(ids::nothing("evidence", text, see));
        }
        _ => {
            let found: Vec<Uuid> = found.iter().map(|id| id.0).collect();
            return Err(ids::several(text, &found));
        }
    };

    let filter = EvidenceFilter {
        evidence_id: Some(id),
        ..EvidenceFilter::default()
    };

    store::evidence::list(conn, &filter)
        .await?
        .pop()
        .ok_or_else(|| AppError::not_found(format!("evidence {id} is gone")))
}
