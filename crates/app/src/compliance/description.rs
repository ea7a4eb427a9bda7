//! The description of the system that the system security plan is written from: in a file, or
//! imported into the database, which is then the one that counts.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use compliance::sections::{self, Section};
use compliance::system::{Asset, CATEGORIES, System};
use config::StateDir;
use model::{Actor, TenantId};
use store::{PgConnection, StoreError};

use super::diagrams;
use super::evidence_store::EvidenceStore;
use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// The name of the system's description in the state directory.
pub const SYSTEM: &str = "system.toml";

/// Reads the description of the system: of the file that is named, else that of the state
/// directory, else an empty one.
pub fn system_description(given: Option<&Path>, state: &StateDir) -> anyhow::Result<System> {
    let path = given.map_or_else(|| state.join(SYSTEM), Path::to_owned);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && given.is_none() => {
            return Ok(System::default());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };

    parse_system(&text)
        .with_context(|| format!("{} is not a description of a system", path.display()))
}

/// Returns the folder that a description's pictures are below.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn parse_system(text: &str) -> anyhow::Result<System> {
    let mut system: System = toml::from_str(text)?;
    let is_old = |line: &str| line.trim_start().starts_with("[organisation]");
    if let Some(line) = text.lines().position(is_old) {
        let line = line + 1;
        system.warnings.push(format!(
            "line {line}: `[organisation]` is now `[organization]`; the old name still works"
        ));
    }

    Ok(system)
}

/// Reads the description: of the file that is named, else what was imported, else of the file in
/// the state directory, else an empty one.
pub(crate) async fn read(
    conn: &mut PgConnection,
    given: Option<&Path>,
    state: &StateDir,
) -> anyhow::Result<System> {
    let imported = if given.is_some() {
        None
    } else {
        imported(conn).await?
    };
    let system = match imported {
        Some(system) => system,
        None => of_file(conn, given, state).await?,
    };

    // Without a description there is no plan of blueteam's, whatever assets are known.
    if system == System::default() {
        return Ok(system);
    }

    Ok(System {
        assets: inventory(conn, &system).await?,
        ..system
    })
}

/// The description of a file. That in the state directory is the first tenant's.
async fn of_file(
    conn: &mut PgConnection,
    given: Option<&Path>,
    state: &StateDir,
) -> anyhow::Result<System> {
    if given.is_none() && !is_installations(conn).await? {
        return Ok(System::default());
    }
    system_description(given, state)
}

/// The description as it is written, without the inventory, and whether it is in the database.
pub(super) async fn as_written(
    conn: &mut PgConnection,
    state: &StateDir,
) -> anyhow::Result<(System, bool)> {
    match imported(conn).await? {
        Some(system) => Ok((system, true)),
        None => Ok((of_file(conn, None, state).await?, false)),
    }
}

/// Whether the connection works for the tenant whose description the file in the state directory is.
async fn is_installations(conn: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(store::tenants::acting(conn).await? == Some(TenantId::DEFAULT))
}

/// What was imported; `None` before the first time.
async fn imported(conn: &mut PgConnection) -> anyhow::Result<Option<System>> {
    let stored = store::ssp_sections::list(conn).await?;
    if stored.is_empty() {
        return Ok(None);
    }

    let sections: Vec<Section> = stored
        .into_iter()
        .map(|s| Section {
            section: s.section,
            title: s.title,
            content: s.content,
        })
        .collect();
    Ok(Some(sections::join(&sections)?))
}

/// The one inventory: the assets in the database, and those that the description names besides.
pub(super) async fn inventory(
    conn: &mut PgConnection,
    system: &System,
) -> Result<Vec<Asset>, StoreError> {
    let mut assets: Vec<Asset> = store::assets::list(conn)
        .await?
        .into_iter()
        .map(|a| Asset {
            name: a.name,
            category: a.category,
            owner: a.owner.unwrap_or_default(),
            description: a.description.unwrap_or_default(),
            treatment: a.treatment.unwrap_or_default(),
        })
        .collect();

    let described: Vec<Asset> = system
        .assets
        .iter()
        .filter(|a| !assets.iter().any(|b| b.name == a.name))
        .cloned()
        .collect();
    assets.extend(described);
    assets.sort_by(|a, b| a.name.cmp(&b.name));

    Ok(assets)
}

/// What an import changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Sections of the plan.
    pub sections: u64,
    /// Assets.
    pub assets: usize,
}

/// Takes a description over into the database: its sections, and its assets into the inventory.
/// From then on that is the description that counts.
pub async fn import(
    session: &mut Session,
    state: &StateDir,
    file: &Path,
) -> Result<Imported, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let system: System = toml::from_str(&text)
        .with_context(|| format!("{} is not a description of a system", file.display()))?;
    take_over(conn, actor, state, system, folder_of(file)).await
}

/// Keeps a description in the database. `folder`: what its pictures are below, where they have not
/// been kept yet.
pub(super) async fn take_over(
    conn: &mut PgConnection,
    actor: &Actor,
    state: &StateDir,
    mut system: System,
    folder: &Path,
) -> Result<Imported, AppError> {
    check_assets(&system.assets)?;
    if !system.diagrams.is_empty() {
        state.create()?;
        let files = EvidenceStore::new(state.path());
        diagrams::keep_pictures(&mut system, folder, &files)?;
    }

    let sections: Vec<store::ssp_sections::Section> = sections::divide(&system)
        .map_err(anyhow::Error::from)?
        .into_iter()
        .map(|s| store::ssp_sections::Section {
            section: s.section,
            title: s.title,
            content: s.content,
        })
        .collect();

    let mut tx = store::begin(conn, actor).await?;
    let changed = store::ssp_sections::save(&mut tx, actor, &sections).await?;
    let known = store::assets::list(&mut tx).await?;
    let assets: Vec<_> = system
        .assets
        .into_iter()
        .map(to_stored)
        .filter(|asset| !known.contains(asset))
        .collect();
    for asset in &assets {
        store::assets::save(&mut tx, actor, asset).await?;
    }

    tx.commit().await.map_err(StoreError::from)?;
    Ok(Imported {
        sections: changed,
        assets: assets.len(),
    })
}

/// Lists every asset that the inventory cannot take.
fn check_assets(assets: &[Asset]) -> Result<(), AppError> {
    let wrong: Vec<String> = assets
        .iter()
        .filter_map(|a| {
            let unexplained = !matches!(a.category.as_str(), "cui" | "security_protection")
                && a.treatment.trim().len() < 3;
            if a.name.trim().is_empty() {
                Some("an asset has no name".to_owned())
            } else if !CATEGORIES.contains(&a.category.as_str()) {
                let known = CATEGORIES.join(", ");
                Some(format!("{}: the category is one of {known}", a.name))
            } else if unexplained {
                Some(format!(
                    "{}: `treatment` says by which policy it is managed, or why it is out of scope",
                    a.name
                ))
            } else {
                None
            }
        })
        .collect();

    if wrong.is_empty() {
        return Ok(());
    }

    Err(AppError::invalid(format!(
        "nothing was imported:\n  {}",
        wrong.join("\n  ")
    )))
}

pub(super) fn to_stored(asset: Asset) -> store::assets::Asset {
    let said = |text: String| Some(text).filter(|text| !text.trim().is_empty());
    store::assets::Asset {
        name: asset.name,
        category: asset.category,
        owner: said(asset.owner),
        description: said(asset.description),
        treatment: said(asset.treatment),
    }
}

/// The description as a file has it, with every asset of the inventory.
pub async fn export(session: &mut Session, state: &StateDir) -> Result<String, AppError> {
    let conn = session.read(Resource::Compliance)?;
    let system = read(conn, None, state).await?;
    let system = System {
        assets: inventory(conn, &system).await?,
        ..system
    };
    Ok(sections::to_toml(&system).map_err(anyhow::Error::from)?)
}

/// Returns a description without what only an import adds, and without assets, which are in a table
/// of their own.
fn comparable(mut system: System) -> System {
    system.assets.clear();
    for diagram in &mut system.diagrams {
        diagram.sha256.clear();
    }

    system
}

/// Whether the file in the state directory says something else than what was imported.
pub(super) async fn is_file_ignored(
    conn: &mut PgConnection,
    state: &StateDir,
) -> Result<bool, AppError> {
    if !state.join(SYSTEM).exists() || !is_installations(conn).await? {
        return Ok(false);
    }
    let Some(imported) = imported(conn).await? else {
        return Ok(false);
    };

    let Ok(file) = system_description(None, state) else {
        return Ok(true);
    };
    Ok(comparable(file) != comparable(imported))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_spelling_of_a_section_works_with_a_warning() {
        let old = parse_system("name = \"S\"\n[organisation]\nname = \"Example Ltd\"\n").unwrap();
        let new = parse_system("name = \"S\"\n[organization]\nname = \"Example Ltd\"\n").unwrap();

        assert_eq!(old.organization, new.organization);
        assert_eq!(new.warnings, Vec::<String>::new());
        assert!(
            old.warnings[0].starts_with("line 2: `[organisation]` is now"),
            "{old:?}"
        );
    }
}
