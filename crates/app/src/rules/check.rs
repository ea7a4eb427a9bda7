//! Sigma rules before they are put to use.

use std::path::{Path, PathBuf};

use config::Config;
use detect::sigma::{Advice, Limits, Sigma, SigmaError, advice};

use model::RuleId;
use serde::Serialize;

use crate::AppError;

/// What a folder of Sigma rules holds.
#[derive(Debug)]
pub struct Checked {
    /// Files that were read.
    pub files: usize,
    /// Rules that can be used.
    pub rules: usize,
    /// Files and rules that cannot.
    pub errors: Vec<SigmaError>,
    /// Rules that can be used, but never fire: blueteam reads no events that they look at.
    pub cannot_fire: Vec<CannotFire>,
    /// What could be better.
    pub advice: Vec<Advice>,
}

/// A rule that can never fire here.
#[derive(Debug, Serialize)]
pub struct CannotFire {
    /// Its title and id.
    pub rule: String,
    /// The reason.
    pub why: String,
}

/// Returns the folder of custom rules that the configuration names.
pub fn configured_dir(config: &Config) -> Result<PathBuf, AppError> {
    match config.detection.rules_dir.as_str() {
        "" => Err(AppError::invalid(
            "say which folder, or set detection.rules_dir",
        )),
        dir => Ok(PathBuf::from(dir)),
    }
}

/// Reads the Sigma rules of a folder.
pub fn check(dir: &Path, limits: Limits) -> Result<Checked, AppError> {
    let files = config::rules::read_rules(dir)?;
    let (sigma, errors) = Sigma::load(&files, limits);
    let names = |id: &RuleId| {
        sigma
            .infos()
            .find(|info| info.id == *id)
            .map_or_else(|| id.to_string(), |info| format!("{} ({id})", info.name))
    };
    let cannot_fire = sigma
        .unable()
        .iter()
        .map(|(id, why)| CannotFire {
            rule: names(id),
            why: why.clone(),
        })
        .collect();

    Ok(Checked {
        files: files.len(),
        rules: sigma.infos().count(),
        errors,
        cannot_fire,
        advice: files
            .iter()
            .flat_map(|(file, text)| advice(file, text, limits))
            .collect(),
    })
}
