//! `[collect]`.

use collect::Format;
use model::Span;
use model::civil::Zone;
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
    /// What is in it: a name of `collect`'s list of formats.
    pub format: String,
    /// How often it speaks at least; silence beyond is told. Unset: as it has learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// The zone of times in it that name none, as an IANA name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

impl File {
    /// Its format; `check` has seen to it that there is one.
    pub fn format(&self) -> Option<&'static Format> {
        Format::named(&self.format)
    }

    /// Its zone; UTC unless it says otherwise.
    pub fn zone(&self) -> Option<Zone> {
        self.time_zone.as_deref().map_or(Some(Zone::UTC), Zone::named)
    }
}

impl Collect {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        for (i, file) in self.files.iter().enumerate() {
            if !file.path.starts_with('/') {
                problems.push(Problem::new(format!("collect.files[{i}].path"), "must be absolute"));
            }
            if let Some(name) = file.time_zone.as_deref().filter(|_| file.zone().is_none()) {
                let message = format!("`{name}` is not a known IANA time zone");
                problems.push(Problem::new(format!("collect.files[{i}].time_zone"), message));
            }
            if file.format().is_none() {
                let known: Vec<&str> = collect::parsers::ALL.iter().map(|f| f.name).collect();
                let message = format!("there is no format `{}`; there are {}", file.format, known.join(", "));
                problems.push(Problem::new(format!("collect.files[{i}].format"), message));
            }
        }
    }
}
