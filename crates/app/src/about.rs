//! What runs here: versions.

pub use store::overview::Schema;

use crate::{AppError, Session};

/// What runs here.
#[derive(Clone, Debug)]
pub struct About {
    /// The version of this program.
    pub version: &'static str,
    /// How far the database is.
    pub schema: Schema,
    /// The version of PostgreSQL.
    pub postgres: String,
}

/// Returns what runs here. Whoever has signed in may know.
pub async fn show(session: &mut Session) -> Result<About, AppError> {
    let (conn, _) = session.parts();
    let schema = store::overview::schema(conn).await?;
    let settings = store::overview::server_settings(conn).await?;
    Ok(About {
        version: env!("CARGO_PKG_VERSION"),
        schema,
        postgres: settings.get("server_version").cloned().unwrap_or_default(),
    })
}
