//! `[incidents]`: playbooks, the clocks of contracts and laws beside that of DFARS, and who is warned.

use std::path::PathBuf;

use model::{Channel, Span};
use respond::clocks::{DFARS, Duty};
use respond::sealing::Recipient;
use serde::{Deserialize, Serialize};

use crate::Channels;
use crate::error::Problem;
use crate::notices::{all_by_default, configured, lead};

/// The most clocks.
const CLOCKS_MAX: usize = 20;

/// `[incidents]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Incidents {
    /// A folder of playbooks of one's own: `<rule>.txt` or `<kind>.txt`, a task a line. Empty: the
    /// built-in ones alone.
    pub playbooks: String,
    /// Duties to report beside DFARS 252.204-7012.
    pub clocks: Vec<Duty>,
    /// By which ways people are warned of a clock; the default is cut down to those that are
    /// configured.
    #[serde(deserialize_with = "crate::channels::list")]
    pub channels: Vec<Channel>,
    /// The public key to which samples of malware are encrypted, as `age-keygen` prints it (age1…);
    /// while it is empty, none is taken in.
    pub malware_recipient: String,
    /// The file of the key that signs exported evidence, in minisign's format and without a
    /// password; while it is empty, one in the state directory, made when it is first needed.
    pub signing_key: PathBuf,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            playbooks: String::new(),
            clocks: Vec::new(),
            channels: all_by_default(),
            malware_recipient: String::new(),
            signing_key: PathBuf::new(),
        }
    }
}

impl Incidents {
    /// Every duty to report, that of DFARS first.
    pub fn duties(&self) -> Vec<Duty> {
        std::iter::once(Duty::dfars())
            .chain(self.clocks.iter().cloned())
            .collect()
    }

    /// The folder of playbooks, if there is one.
    pub fn playbooks(&self) -> Option<PathBuf> {
        (!self.playbooks.is_empty()).then(|| PathBuf::from(&self.playbooks))
    }

    /// The ways that are configured.
    pub fn channels(&self, channels: &Channels) -> Vec<Channel> {
        configured(&self.channels, channels)
    }

    pub(super) fn check(&self, channels: &Channels, problems: &mut Vec<Problem>) {
        if !self.playbooks.is_empty() && !self.playbooks.starts_with('/') {
            problems.push(Problem::new(
                "incidents.playbooks",
                "must be an absolute path",
            ));
        }
        if self.clocks.len() > CLOCKS_MAX {
            problems.push(Problem::new(
                "incidents.clocks",
                format!("must be at most {CLOCKS_MAX}"),
            ));
        }
        for (at, duty) in self.clocks.iter().enumerate() {
            let mut wrong = |key: &str, why: &str| {
                problems.push(Problem::new(format!("incidents.clocks[{at}].{key}"), why));
            };
            if duty.id == DFARS {
                wrong("id", "dfars is built in and stays as the clause has it");
            } else if !duty.is_id() {
                wrong("id", "must be 1 to 40 lowercase letters, digits, - and _");
            } else if self.clocks[..at].iter().any(|before| before.id == duty.id) {
                wrong("id", "is there twice");
            }
            if !(1..=100).contains(&duty.name.trim().chars().count()) {
                wrong("name", "must be 1 to 100 characters");
            }
            if !(Span::hours(1)..=Span::days(366)).contains(&duty.within) {
                wrong("within", "must be from 1h to 366d");
            }
        }

        if !self.malware_recipient.is_empty()
            && let Err(error) = Recipient::parse(&self.malware_recipient)
        {
            problems.push(Problem::new(
                "incidents.malware_recipient",
                format!("must be a public key that `age-keygen` prints (age1…): {error}"),
            ));
        }

        lead(
            "incidents.channels",
            &self.channels,
            &Self::default().channels,
            channels,
            problems,
        );
    }
}
