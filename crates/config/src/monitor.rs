//! `[monitor]`.

use model::Span;
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::{lasting, positive};

/// The live reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Monitor {
    /// How often the database is asked when it doesn't say by itself that rows came.
    pub poll: Span,
    /// The most rows that one read takes.
    pub batch_max_events: u64,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            poll: Span::secs(5),
            batch_max_events: 10_000,
        }
    }
}

impl Monitor {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        lasting(problems, "monitor.poll", self.poll);
        positive(problems, "monitor.batch_max_events", self.batch_max_events);
    }
}
