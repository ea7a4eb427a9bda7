//! The compliance work: the requirements of NIST SP 800-171, what was found about them, the
//! evidence behind that, and what follows.

pub mod assessment;
pub mod assessment_package;
pub mod assets;
pub mod checks;
pub mod claims;
pub mod description;
mod diagrams;
pub mod evidence;
pub mod evidence_store;
mod ids;
pub mod import;
pub mod integrity;
mod media;
pub mod overview;
pub mod poam;
pub mod reminders;
pub mod reports;
pub mod review;
pub mod score;
pub mod ssp;

use compliance::catalog::ObjectiveText;
use compliance::{Catalog, Requirement};
use model::{Control, Timestamp};
use store::PgConnection;

use crate::AppError;

/// Every requirement as it stands at `now`; an error when the requirements were never loaded.
pub(crate) async fn current_controls(
    conn: &mut PgConnection,
    now: Timestamp,
) -> Result<Vec<Control>, AppError> {
    let controls = store::compliance::all(conn, now).await?;
    require_loaded(&controls)?;
    Ok(controls)
}

fn require_loaded(controls: &[Control]) -> Result<(), AppError> {
    if controls.is_empty() {
        return Err(AppError::conflict(
            "the requirements are not in the database yet; run `blueteam migrate`",
        ));
    }

    Ok(())
}

/// What `3.1.1` or `3.1.1[a]` means.
fn find_requirement(
    text: &str,
) -> Result<(&'static Requirement, Option<&'static ObjectiveText>), AppError> {
    let shown = model::text::sanitize(text);
    Catalog::r2().find(text).ok_or_else(|| {
        AppError::not_found(format!(
            "there is no `{shown}`; write a requirement (3.1.1, AC.L2-3.1.1) or an objective \
                (3.1.1[a] or 3.1.1a)"
        ))
    })
}

/// What is known of a requirement.
fn find_control<'a>(
    requirement: &Requirement,
    controls: &'a [Control],
) -> Result<&'a Control, AppError> {
    controls
        .iter()
        .find(|c| c.control_id == requirement.control_id)
        .ok_or_else(|| AppError::conflict("the database has no such requirement"))
}
