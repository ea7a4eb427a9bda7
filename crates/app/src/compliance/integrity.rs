//! Whether evidence is what was taken in, and the list of hashes by which others can tell.

use std::collections::HashMap;
use std::io;

use compliance::evidence::{Artifact, CONFIRMATIONS, artifacts, confirmations, names};
use config::StateDir;
use model::evidence::Confirmation;
use model::{Evidence, EvidenceId};
use serde::Serialize;
use store::PgConnection;
use store::evidence::{EvidenceFilter, PAGE};
use uuid::Uuid;

use crate::actor::Resource;
use crate::compliance::checks;
use crate::compliance::evidence_store::{self, EvidenceStore};
use crate::{AppError, Session};

/// A piece that is not what was taken in.
#[derive(Debug, Serialize)]
pub struct Altered {
    /// The piece.
    pub evidence_id: EvidenceId,
    /// Its name.
    pub artifact: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a look at every piece found.
#[derive(Debug)]
pub struct Verified {
    /// How many pieces there are.
    pub pieces: usize,
    /// Those that are not what was taken in.
    pub altered: Vec<Altered>,
}

/// Hashes every piece again.
pub async fn verify(session: &mut Session, state: &StateDir) -> Result<Verified, AppError> {
    let conn = session.read(Resource::Evidence)?;
    let files = EvidenceStore::new(state.path());
    let confirmed = by_piece(store::evidence::confirmations(conn, None).await?);

    let mut verified = Verified {
        pieces: 0,
        altered: Vec::new(),
    };
    each_page(conn, |page| {
        verified.pieces += page.len();
        for e in page {
            let own = confirmed.get(&e.evidence_id).map_or(&[][..], Vec::as_slice);
            if let Some(problem) = integrity_problem(&e, &files).or_else(|| checks::broken(&e, own))
            {
                verified.altered.push(Altered {
                    evidence_id: e.evidence_id,
                    artifact: e.artifact(),
                    problem,
                });
            }
        }
    })
    .await?;

    Ok(verified)
}

/// Marks the pieces that are not what was taken in.
pub(super) async fn mark_tampered(
    conn: &mut PgConnection,
    state: &StateDir,
    pieces: &mut [Evidence],
) -> Result<(), AppError> {
    let ids: Vec<EvidenceId> = pieces.iter().map(|e| e.evidence_id).collect();
    let confirmed = by_piece(store::evidence::confirmations(conn, Some(&ids)).await?);
    let files = EvidenceStore::new(state.path());
    for piece in pieces.iter_mut().filter(|e| e.sha256.is_some()) {
        let own = confirmed
            .get(&piece.evidence_id)
            .map_or(&[][..], Vec::as_slice);
        // A file that this account may not read says nothing either way; `verify` tells.
        piece.tampered = is_altered(piece, &files) || checks::broken(piece, own).is_some();
    }

    Ok(())
}

/// The list of hashes that an assessor takes along (32 CFR 170.17(c)(4)): of what the package for
/// assessors holds, which is of each check the last result.
pub async fn hash_list(session: &mut Session) -> Result<Vec<Artifact>, AppError> {
    let conn = session.read(Resource::Evidence)?;
    let filter = EvidenceFilter {
        latest: true,
        bare: true,
        ..EvidenceFilter::default()
    };
    let all = store::evidence::list(conn, &filter).await?;
    let ids: Vec<EvidenceId> = all.iter().map(|e| e.evidence_id).collect();
    let mut list: Vec<Artifact> = artifacts(&all)
        .into_iter()
        .map(|(artifact, _)| artifact)
        .collect();

    let confirmed = store::evidence::confirmations(conn, Some(&ids)).await?;
    let confirmed = confirmations(&confirmed, &names(&all));
    if !confirmed.is_empty() {
        list.push(Artifact {
            name: CONFIRMATIONS.to_owned(),
            sha256: evidence_store::sha256(confirmed.as_bytes()),
        });
    }

    Ok(list)
}

fn by_piece(all: Vec<Confirmation>) -> HashMap<EvidenceId, Vec<Confirmation>> {
    let mut found: HashMap<EvidenceId, Vec<Confirmation>> = HashMap::new();
    for confirmation in all {
        found
            .entry(confirmation.evidence_id)
            .or_default()
            .push(confirmation);
    }

    found
}

/// Gives every piece to `look`, a page at a time: six years of results are more than fits into
/// memory.
async fn each_page(
    conn: &mut PgConnection,
    mut look: impl FnMut(Vec<Evidence>),
) -> Result<(), AppError> {
    let mut after = EvidenceId(Uuid::nil());
    loop {
        let filter = EvidenceFilter {
            after: Some(after),
            ..EvidenceFilter::default()
        };

        let page = store::evidence::list(conn, &filter).await?;
        let full = page.len() == PAGE;
        after = page.last().map_or(after, |e| e.evidence_id);
        look(page);
        if !full {
            return Ok(());
        }
    }
}

/// Whether a piece that can be read is another one now, or is gone.
fn is_altered(piece: &Evidence, files: &EvidenceStore) -> bool {
    let denied = piece.file_path.as_ref().is_some_and(|path| {
        files.open(path).is_err_and(|error| {
            error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        })
    });
    !denied && integrity_problem(piece, files).is_some()
}

/// What is wrong with a piece.
fn integrity_problem(piece: &Evidence, files: &EvidenceStore) -> Option<String> {
    let Some(taken) = &piece.sha256 else {
        return Some("has no hash: it was taken in before this program".to_owned());
    };

    let now = match (&piece.file_path, &piece.content) {
        (Some(path), _) => match files.hash(path) {
            Ok(hash) => hash,
            Err(error) => return Some(format!("{error:#}")),
        },
        (None, content) => content
            .as_ref()
            .map(|text| evidence_store::sha256(text.as_bytes())),
    };

    match now {
        None => Some("is gone".to_owned()),
        Some(now) if now != *taken => {
            Some(format!("was changed: its hash is {now}, and was {taken}"))
        }
        Some(_) => None,
    }
}
