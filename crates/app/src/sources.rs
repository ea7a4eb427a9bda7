//! Sources: what delivers events, whether it still does, and what of it could not be read.

use std::collections::BTreeSet;

use collect::source_tracking::{Cadence, Hours, Sequence};
use model::text::sanitize;
use model::{Clock as _, Span, SystemClock};
use serde::Serialize;
use store::PgConnection;

use crate::actor::Resource;
use crate::{AppError, Session, names};

pub use store::sources::{Gap, KeptLetter as DeadLetter, SourceRow};

pub use store::senders::{Sender, SenderKey, Unread};

/// The most gaps of a source that are shown.
const GAPS_MAX: i64 = 50;

/// A source as lists show it.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct Listed {
    /// Its account.
    #[serde(flatten)]
    pub row: SourceRow,
    /// The machines that its lines name, by name.
    pub hosts: Vec<String>,
    /// Its senders of which too many lines are not understood.
    pub partly_unread: Vec<PartlyUnread>,
}

/// A sender of which too many lines are not understood.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct PartlyUnread {
    /// Its address; empty of a file.
    pub peer: String,
    /// How much.
    #[serde(flatten)]
    pub unread: Unread,
}

/// Returns every source, by name.
pub async fn list(session: &mut Session) -> Result<Vec<Listed>, AppError> {
    let conn = session.read(Resource::Sources)?;
    let rows = store::sources::list(conn).await?;
    let senders = store::senders::list(conn, None).await?;
    let now = SystemClock.now();

    let list = |row: SourceRow| {
        let own = || senders.iter().filter(|s| s.source_id == row.source_id);
        let hosts = own()
            .map(|sender| sender.key.host.clone())
            .filter(|host| !host.is_empty());
        let partly_unread = own().filter_map(|sender| {
            Some(PartlyUnread {
                peer: sender.key.peer.clone(),
                unread: sender.unread(now)?,
            })
        });
        Listed {
            hosts: hosts.collect::<BTreeSet<_>>().into_iter().collect(),
            partly_unread: partly_unread.collect(),
            row,
        }
    };
    Ok(rows.into_iter().map(list).collect())
}

/// A source in full.
#[derive(Debug, Serialize)]
pub struct Details {
    /// Its account.
    #[serde(flatten)]
    pub row: SourceRow,
    /// The pause that it keeps within, during business hours.
    pub usual_pause_open: Option<Span>,
    /// The same outside of business hours.
    pub usual_pause_closed: Option<Span>,
    /// Numbers of its sequence that are missing now.
    pub missing_numbers: Option<u64>,
    /// Its gaps, the newest first.
    pub gaps: Vec<Gap>,
    /// Who sends it: of each peer its sum, then the machines that its lines name.
    pub senders: Vec<Sender>,
}

impl Details {
    fn new(row: SourceRow, gaps: Vec<Gap>, senders: Vec<Sender>) -> Self {
        let rhythm: Cadence = serde_json::from_value(row.rhythm.clone()).unwrap_or_default();
        let sequence: Option<Sequence> = row
            .sequence
            .clone()
            .and_then(|s| serde_json::from_value(s).ok());

        Self {
            usual_pause_open: rhythm.usual_pause(Hours::Business),
            usual_pause_closed: rhythm.usual_pause(Hours::Off),
            missing_numbers: sequence.map(|s| s.missing_count()),
            row,
            gaps,
            senders,
        }
    }
}

/// Returns the source of this name.
pub async fn show(session: &mut Session, id: &str) -> Result<Details, AppError> {
    let conn = session.read(Resource::Sources)?;
    let Some(row) = store::sources::find(conn, id).await? else {
        return Err(unknown(conn, id).await?);
    };

    let gaps = store::sources::gaps(conn, id, GAPS_MAX).await?;
    let senders = store::senders::list(conn, Some(id)).await?;
    Ok(Details::new(row, gaps, senders))
}

/// The error of a source that does not exist.
async fn unknown(conn: &mut PgConnection, id: &str) -> Result<AppError, AppError> {
    let known = store::sources::list(conn).await?;
    let meant = names::meant(id, known.iter().map(|row| row.source_id.as_str()));
    Ok(AppError::not_found(format!(
        "there is no source `{}`{meant}; `blueteam sources list` names them",
        sanitize(id)
    )))
}

/// Returns what could not be read, the newest first, at most `limit`: of one source, or of all.
pub async fn dead_letters(
    session: &mut Session,
    source: Option<&str>,
    limit: u32,
) -> Result<Vec<DeadLetter>, AppError> {
    let conn = session.read(Resource::Sources)?;
    if let Some(id) = source
        && store::sources::find(conn, id).await?.is_none()
    {
        return Err(unknown(conn, id).await?);
    }
    Ok(store::sources::dead_letters(conn, source, i64::from(limit)).await?)
}
