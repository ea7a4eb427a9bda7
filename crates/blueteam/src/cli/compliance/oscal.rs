//! `blueteam compliance export --oscal` and `import` of OSCAL documents.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use compliance::Catalog;
use compliance::oscal::{Imported, read};
use model::{Clock as _, SystemClock};
use store::Connection as _;
use store::compliance::Changes;

use super::ids::many;
use super::sheet::ImportArgs;
use super::{controls, known};
use crate::cli::out;
use crate::cli::session::{Globals, with_database};
use app::dossier::{self, Dossier, pretty};

/// Writes the documents below a folder; none of them may be there.
pub(super) fn export(
    folder: &Path,
    system: Option<&Path>,
    json: bool,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let system = dossier::system(system, &globals.state()?)?;
    let dossier = with_database(globals, async |conn, _| {
        Dossier::read(conn, system, SystemClock.now()).await
    })?;
    let mut written = Vec::new();
    for document in dossier.oscal()? {
        let path = folder.join(&document.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }

        out::new_file(&path, pretty(&document.json)?.as_bytes())?;
        if !json {
            out::line(path.display())?;
        }

        written.push(path);
    }

    if json {
        out::json(&written)?;
    }

    if dossier.plans.is_empty() {
        out::note("no POA&M: there is no item, and OSCAL has no empty one");
    }

    Ok(ExitCode::SUCCESS)
}

/// Reads a plan or a POA&M.
pub(super) fn import(
    text: &[u8],
    args: &ImportArgs,
    who: &str,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let (path, dry_run) = (&args.file, args.dry_run);
    let now = SystemClock.now();
    let found = read(Catalog::r2(), text, now)
        .with_context(|| format!("{} was not imported", path.display()))?;
    let changed = with_database(globals, async |conn, _| {
        let before = controls(conn).await?;
        let mut tx = conn.begin().await?;
        let changed = match &found {
            Imported::Poam(plans) => {
                let there = store::plans::list(&mut tx).await?;
                let new: Vec<_> = plans
                    .iter()
                    .filter(|p| !there.iter().any(|t| t.poam_id == p.poam_id))
                    .cloned()
                    .collect();
                if let Some(p) = new.iter().find(|p| p.weakness.trim().is_empty()) {
                    bail!("the item about {} does not say what is wrong", p.control_id);
                }

                store::plans::save(&mut tx, who, &new, now).await?;
                new.len()
            }
            Imported::Plan(requirements) => {
                let mut changed = 0;
                for (control, notes, owner) in requirements {
                    let Some(r) = Catalog::r2().get(control) else {
                        continue;
                    };
                    let now = known(r, &before);
                    let differs = |new: &Option<String>, old: Option<&String>| {
                        new.clone().filter(|n| Some(n) != old)
                    };
                    let changes = Changes {
                        notes: differs(notes, now.and_then(|c| c.notes.as_ref())),
                        owner: differs(owner, now.and_then(|c| c.owner.as_ref())),
                        ..Changes::default()
                    };

                    if changes != Changes::default() {
                        store::compliance::change(&mut tx, who, control, &changes).await?;
                        changed += 1;
                    }
                }

                changed
            }
        };

        if !dry_run {
            tx.commit().await?;
        }

        Ok(changed)
    })?;

    let plans = matches!(found, Imported::Poam(_));
    if args.json {
        let what = if plans { "plans" } else { "requirements" };
        out::json(&serde_json::json!({ "dry_run": dry_run, what: changed }))?;
        return Ok(ExitCode::SUCCESS);
    }

    let what = if plans {
        many(changed, "plan of action", "plans of action")
    } else {
        many(changed, "requirement", "requirements")
    };

    out::line(format_args!(
        "{} {what}",
        if dry_run { "would change" } else { "changed" }
    ))?;

    Ok(ExitCode::SUCCESS)
}
