//! `[advisories]`: feeds of security advisories, and inventories of components.

use ::advisories::{feeds, inventory};
use model::{Span, TenantName};
use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// `[advisories]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Advisories {
    /// Where advisories come from.
    pub feeds: Vec<Entry>,
    /// Where lists of components come from.
    pub inventories: Vec<Entry>,
}

/// One feed or inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called in lists and alerts.
    pub name: String,
    /// The file, or `https://…`.
    pub from: String,
    /// Its format; detected from the text if it is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How often it is read.
    #[serde(default = "default_interval")]
    pub interval: Span,
    /// Of an inventory, whose components they are, by the tenant's name; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
}

impl Entry {
    /// Whose components they are; none for the tenant `default`.
    pub fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_ref().filter(|name| !name.is_default())
    }
}

fn default_interval() -> Span {
    Span::days(1)
}

/// A publisher is asked no more often.
const EVERY_MIN: Span = Span::secs(10);

/// Whether an address is one that is fetched; a file always is.
fn is_readable(from: &str) -> bool {
    let Some((scheme, rest)) = from.split_once("://") else {
        return true;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.split_once(']') {
        Some((host, _)) => host.trim_start_matches('['),
        None => host.split(':').next().unwrap_or_default(),
    };

    scheme == "https" || scheme == "http" && notify::tls::is_loopback(host)
}

impl Advisories {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        let feeds: Vec<&str> = feeds::ALL.iter().map(|f| f.name).collect();
        let inventories: Vec<&str> = inventory::ALL.iter().map(|f| f.name).collect();
        for (list, entries, formats) in [
            ("feeds", &self.feeds, feeds),
            ("inventories", &self.inventories, inventories),
        ] {
            for (i, entry) in entries.iter().enumerate() {
                let mut problem = |key: &str, message: String| {
                    problems.push(Problem::new(
                        format!("advisories.{list}[{i}].{key}"),
                        message,
                    ));
                };
                if entry.name.trim().is_empty() || entry.name.len() > 200 {
                    problem("name", "must have from 1 to 200 characters".to_owned());
                }
                let is_same =
                    |other: &Entry| (&other.name, other.tenant()) == (&entry.name, entry.tenant());
                if entries.iter().take(i).any(is_same) {
                    problem("name", "is used twice".to_owned());
                }
                if list == "feeds" && entry.tenant.is_some() {
                    problem(
                        "tenant",
                        "what publishers say concerns every tenant; only inventories have one"
                            .to_owned(),
                    );
                }
                if !is_readable(&entry.from) {
                    problem(
                        "from",
                        "must be a file or begin with https:// (http:// only to this machine)"
                            .to_owned(),
                    );
                }
                if entry.from.is_empty() {
                    problem("from", "must name a file or an address".to_owned());
                }
                if entry
                    .format
                    .as_deref()
                    .is_some_and(|f| !formats.contains(&f))
                {
                    problem("format", format!("must be one of {}", formats.join(", ")));
                }
                if entry.interval < EVERY_MIN {
                    problem("interval", format!("must be at least {EVERY_MIN}"));
                }
            }
        }
    }
}
