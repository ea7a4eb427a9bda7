//! Incidents: what alerts opened.

use crate::{AppError, Session};

pub use store::incidents::Incident;

/// The newest incidents first, at most `limit`; closed ones only when asked for.
pub async fn list(
    session: &mut Session,
    closed_too: bool,
    limit: u32,
) -> Result<Vec<Incident>, AppError> {
    Ok(store::incidents::list(session.read()?, closed_too, limit).await?)
}
