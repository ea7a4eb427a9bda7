//! Sigma rules before they are put to use.

use std::path::{Path, PathBuf};

use config::Config;
use detect::sigma::{Advice, Sigma, SigmaError, advice};

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
    /// What could be better.
    pub advice: Vec<Advice>,
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
pub fn check(dir: &Path) -> Result<Checked, AppError> {
    let files = config::rules::read_rules(dir)?;
    let (sigma, errors) = Sigma::load(&files);
    Ok(Checked {
        files: files.len(),
        rules: sigma.infos().count(),
        errors,
        advice: files
            .iter()
            .flat_map(|(file, text)| advice(file, text))
            .collect(),
    })
}
