//! `[logging]`.

use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::wording::nearest;

/// The program's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as
    /// `info,store=debug`.
    pub filter: String,
    /// How it looks.
    pub format: LogFormat,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Logging {
    /// A word that is not a level would be taken for the name of a part of the program, and nothing
    /// else be logged.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        for directive in self.filter.split(',').map(str::trim) {
            let level = directive.rsplit('=').next().unwrap_or_default();
            let is_level = LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known));
            // A filter on fields, in brackets, is for those who know the library.
            if is_level || directive.contains('[') {
                continue;
            }

            let meant = nearest(level, LEVELS)
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            let message = format!("`{level}` is not one of {}{meant}", LEVELS.join(", "));
            problems.push(Problem::new("logging.filter", message));
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}
