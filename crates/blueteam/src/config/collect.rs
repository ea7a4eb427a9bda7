//! `[collect]`.

use serde::{Deserialize, Serialize};

use super::error::Problem;

/// Log files to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// The files.
    pub files: Vec<File>,
}

/// One log file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where it is; absolute, because the daemon's working directory is nobody's business.
    pub path: String,
    /// What is in it.
    pub format: Format,
}

/// What a log file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// RFC 3164 or 5424 lines, sshd's above all.
    Syslog,
    /// Audit events as NDJSON.
    Audit,
}

impl Collect {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        for (i, file) in self.files.iter().enumerate() {
            if !file.path.starts_with('/') {
                problems.push(Problem::new(format!("collect.files[{i}].path"), "must be absolute"));
            }
        }
    }
}
