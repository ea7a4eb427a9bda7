//! `[redteam]`: where reports of the red team come from.

use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// `[redteam]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedTeam {
    /// The pattern of the files; empty for none.
    pub reports: String,
}

impl RedTeam {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        if let Err(error) = glob::Pattern::new(&self.reports) {
            problems.push(Problem::new(
                "redteam.reports",
                format!("is not a pattern of file names: {error}"),
            ));
        }
    }
}
