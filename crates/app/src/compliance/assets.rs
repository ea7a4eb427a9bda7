//! The assets that an assessment is about, each in one CMMC category (32 CFR 170.19(c)).

use config::StateDir;

use super::description;
use crate::actor::{Action, Resource};
use crate::{AppError, Session};

pub use store::assets::Asset;

/// The longest name of an asset, in octets.
const NAME_MAX: usize = 200;

/// The one inventory: what was set here and what the description of the system names, by name.
pub async fn list(session: &mut Session, state: &StateDir) -> Result<Vec<Asset>, AppError> {
    let conn = session.read(Resource::Compliance)?;
    let system = description::read(conn, None, state).await?;
    let assets = description::inventory(conn, &system).await?;
    Ok(assets.into_iter().map(description::to_stored).collect())
}

/// Writes an asset; what was there under its name is replaced.
pub async fn set(session: &mut Session, asset: &Asset) -> Result<(), AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    let explained = asset
        .treatment
        .as_deref()
        .is_some_and(|text| text.trim().len() >= 3);
    if !matches!(asset.category.as_str(), "cui" | "security_protection") && !explained {
        return Err(AppError::invalid(
            "--treatment: say by which policy it is managed, or why it is out of scope",
        ));
    }

    if asset.name.trim().is_empty() || asset.name.len() > NAME_MAX {
        return Err(AppError::conflict(format!(
            "the name has from 1 to {NAME_MAX} characters"
        )));
    }

    Ok(store::assets::save(conn, actor, asset).await?)
}

/// Removes the asset of that name.
pub async fn remove(session: &mut Session, state: &StateDir, name: &str) -> Result<(), AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    if store::assets::remove(conn, actor, name).await? {
        return Ok(());
    }

    let system = description::read(conn, None, state).await?;
    if system.assets.iter().any(|a| a.name == name) {
        return Err(AppError::conflict(format!(
            "`{}` is an asset of the description of the system; take it out there",
            model::text::sanitize(name)
        )));
    }

    Err(AppError::not_found(format!(
        "there is no asset `{}`",
        model::text::sanitize(name)
    )))
}
