//! What a person has looked at: recorded for those who come from outside, and shown to them.

use crate::actor::Resource;
use crate::{AppError, Session};

pub use store::trail::Step;

/// Records that whoever has the session has looked at a page.
pub async fn record(session: &mut Session, place: &str) -> Result<(), AppError> {
    let (conn, actor) = session.parts();
    Ok(store::trail::record_reading(conn, actor, place).await?)
}

/// The latest entries of one's own trail, the newest first.
pub async fn own(session: &mut Session, limit: u32) -> Result<Vec<Step>, AppError> {
    let username = session.actor().name.clone();
    let conn = session.read(Resource::AuditLog)?;
    Ok(store::trail::of(conn, &username, limit).await?)
}
