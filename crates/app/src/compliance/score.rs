//! The DoD score, and what SPRS asks for.

use std::path::Path;

use compliance::claim::Claim;
use compliance::sprs::Submission;
use config::StateDir;
use model::{Clock as _, Scored, SystemClock};

use super::claims::Grounds;
use super::{description, require_loaded};
use crate::actor::Resource;
use crate::{AppError, Session};

/// The score of today.
#[derive(Debug)]
pub struct Today {
    /// What may be claimed.
    pub claim: Claim,
    /// What SPRS asks for, or why there is nothing to submit.
    pub sprs: Result<Submission, String>,
    /// Why the description of the system in the state directory cannot be read, which withholds the
    /// score.
    pub unreadable: Option<String>,
}

/// Decides on the score, by the description of the system in `given`, else in the state directory.
/// A file that is given must be there.
pub async fn today(
    session: &mut Session,
    state: &StateDir,
    given: Option<&Path>,
) -> Result<Today, AppError> {
    let conn = session.read(Resource::Compliance)?;
    let mut unreadable = None;
    let system = match description::read(conn, given, state).await {
        Err(error) if given.is_none() => {
            unreadable = Some(format!("{error:#}"));
            None
        }
        read => Some(read?),
    };

    let grounds = Grounds::read(conn, system, state, SystemClock.now()).await?;
    require_loaded(&grounds.controls)?;

    let claim = grounds.claim();
    let sprs = Submission::of(&grounds.basis(), &claim);
    Ok(Today {
        claim,
        sprs,
        unreadable,
    })
}

/// The scores that were recorded, the oldest first: when one changed, and one a day.
pub async fn history(session: &mut Session) -> Result<Vec<Scored>, AppError> {
    Ok(store::scores::all(session.read(Resource::Compliance)?).await?)
}
