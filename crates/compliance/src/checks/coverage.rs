//! What an objective must hold for, and how much of that a check has seen.
//!
//! A check that saw one host of five knows nothing about the other four. So the population is part
//! of each check, its coverage is part of each result, and no check returns "met" below full
//! coverage, whatever it decided ([`Check::run`](super::Check::run)).

use std::fmt::{self, Display, Formatter};

use model::facts::{Facts, InventoryFacts};
use serde::Serialize;

use super::{ALL, Section};
use crate::catalog::Catalog;

/// The population of a check.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// What its objectives must hold for, in words.
    pub population: &'static str,
    /// How the population is counted.
    pub counted: Counted,
    /// What of it blueteam cannot see.
    pub cannot_see: &'static str,
}

/// How a population is counted, and the part of it that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Assets in scope, of which the settings of blueteam's own machine are read.
    Settings,
    /// Assets in scope, of which those are seen whose records arrived on every day of the period.
    Records,
    /// Accounts, of which those of the applications that share blueteam's database are seen.
    Accounts,
    /// Assessment objectives, of which those are seen that were decided within a year.
    Objectives,
    /// Requirements, of which those are seen that a check looks at.
    Requirements,
    /// Incidents, of which those are seen that are recorded.
    Incidents,
    /// Connections, of which those are seen that blueteam itself makes or accepts.
    Connections,
    /// Components in use, of which those are seen that an imported inventory lists.
    Components,
    /// Documents, none of which a check reads.
    Documents,
}

/// How much of a population was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// What is counted: `hosts`, `accounts`.
    pub unit: &'static str,
    /// How many were seen; `None` if the facts do not say.
    pub seen: Option<u64>,
    /// How many there are; `None` if the facts do not say.
    pub of: Option<u64>,
}

impl Counted {
    /// Returns the section of the facts that it is counted from, beside those that a check decides
    /// from.
    pub(super) fn reads(self) -> Option<Section> {
        matches!(self, Self::Settings | Self::Records).then_some(Section::Inventory)
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Settings | Self::Records => "hosts",
            Self::Accounts => "accounts",
            Self::Objectives => "objectives",
            Self::Requirements => "requirements",
            Self::Incidents => "incidents",
            Self::Connections => "connections",
            Self::Components => "components",
            Self::Documents => "documents",
        }
    }

    /// Returns what is counted and when it counts as seen.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Settings => "hosts, by their settings",
            Self::Records => "hosts, by their records",
            Self::Accounts => "accounts, in blueteam's database",
            Self::Objectives => "objectives, decided within a year",
            Self::Requirements => "requirements, looked at by a check",
            Self::Incidents => "incidents, recorded in blueteam",
            Self::Connections => "connections, of blueteam's own",
            Self::Components => "components, in imported inventories",
            Self::Documents => "documents, read by people only",
        }
    }

    /// Returns how much of the population the facts show.
    pub fn coverage(self, facts: &Facts) -> Coverage {
        let inventory = facts.inventory.as_ref();
        let program = facts.programme.as_ref();

        let (seen, of) = match self {
            Self::Settings => {
                let read = facts.host.is_some() || facts.database.is_some();
                (
                    Some(u64::from(read && inventory.is_none_or(is_own_in_scope))),
                    count_hosts(inventory),
                )
            }
            Self::Records => (
                inventory.and_then(|i| reporting_hosts(i, facts.days)),
                count_hosts(inventory),
            ),
            Self::Accounts => (
                facts.accounts.as_ref().map(|a| a.active.values().sum()),
                None,
            ),
            Self::Objectives => (
                program.map(|p| p.decided_in_a_year),
                // Rows that are missing in the database are no smaller population.
                Some(count_objectives()),
            ),
            Self::Requirements => (
                Some(ALL.len() as u64),
                Some(Catalog::r2().requirements.len() as u64),
            ),
            Self::Incidents => (
                facts.incidents.as_ref().map(|i| i.by_status.values().sum()),
                None,
            ),
            Self::Connections => (facts.transport.as_ref().map(|t| t.ways.len() as u64), None),
            Self::Components => (facts.advisories.as_ref().map(|a| a.components), None),
            Self::Documents => (Some(0), None),
        };

        Coverage {
            unit: self.unit(),
            seen,
            of,
        }
    }
}

impl Coverage {
    /// Returns whether all of a known, non-empty population was seen.
    pub fn is_full(self) -> bool {
        matches!((self.seen, self.of), (Some(seen), Some(of)) if of > 0 && seen >= of)
    }
}

impl Display for Coverage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let unit = self.unit;
        let prefix = if unit == "hosts" {
            "seen on"
        } else {
            "seen for"
        };
        match (self.seen, self.of) {
            (Some(seen), Some(of)) => write!(f, "{prefix} {seen} of {of} {unit}"),
            (Some(seen), None) => write!(f, "{prefix} {seen} of an unknown number of {unit}"),
            (None, Some(of)) => write!(f, "{prefix} an unknown number of {of} {unit}"),
            (None, None) => write!(f, "{prefix} an unknown number of {unit}"),
        }
    }
}

/// Returns the assets in scope whose records did not arrive on every day of the period.
pub(super) fn unheard_hosts(inventory: &InventoryFacts, days: u16) -> Vec<String> {
    inventory
        .in_scope
        .iter()
        .filter(|asset| !reported_daily(inventory, asset, days))
        .cloned()
        .collect()
}

/// Returns the hosts that report and are not in scope: the inventory lacks them, or calls them out
/// of scope although they are watched.
pub(super) fn unlisted_hosts(inventory: &InventoryFacts) -> Vec<String> {
    let hosts = inventory.reporting.iter().flat_map(|hosts| hosts.keys());
    hosts
        .chain(&inventory.this_host)
        .filter(|host| !inventory.in_scope.iter().any(|asset| is_same(asset, host)))
        .cloned()
        .collect()
}

/// Whether blueteam's own machine is one of those that the assessment is about. An empty inventory
/// excludes nothing.
fn is_own_in_scope(inventory: &InventoryFacts) -> bool {
    let host = inventory.this_host.iter();
    inventory.in_scope.is_empty()
        || host
            .flat_map(|host| inventory.in_scope.iter().map(move |asset| (asset, host)))
            .any(|(asset, host)| is_same(asset, host))
}

/// An empty inventory names no population.
fn count_hosts(inventory: Option<&InventoryFacts>) -> Option<u64> {
    inventory
        .map(|i| i.in_scope.len() as u64)
        .filter(|hosts| *hosts > 0)
}

fn reporting_hosts(inventory: &InventoryFacts, days: u16) -> Option<u64> {
    inventory.reporting.as_ref()?;
    let unheard = unheard_hosts(inventory, days).len();
    Some((inventory.in_scope.len() - unheard) as u64)
}

/// Whether the records of an asset arrived on every day. A host that may be one of two assets, as
/// `web` of `web.prod.example` and `web.test.example`, shows neither.
fn reported_daily(inventory: &InventoryFacts, asset: &str, days: u16) -> bool {
    let is_only_asset = |host: &str| {
        let assets = inventory.in_scope.iter();
        assets.filter(|asset| is_same(asset, host)).count() == 1
    };
    inventory
        .reporting
        .iter()
        .flatten()
        .any(|(host, heard)| *heard >= days && is_same(asset, host) && is_only_asset(host))
}

/// Compares host names without case and, where one of them has no domain, without domain: people
/// write `fileserver` for `FileServer.example.com`. Addresses are compared whole.
fn is_same(asset: &str, host: &str) -> bool {
    let normal = |name: &str| name.trim().trim_end_matches('.').to_ascii_lowercase();
    let is_address = |name: &str| name.parse::<std::net::IpAddr>().is_ok();
    let (asset, host) = (normal(asset), normal(host));

    if asset.is_empty() || is_address(&asset) || is_address(&host) {
        return !asset.is_empty() && asset == host;
    }
    match (asset.split_once('.'), host.split_once('.')) {
        (Some(_), Some(_)) | (None, None) => asset == host,
        (Some((short, _)), None) => short == host,
        (None, Some((short, _))) => asset == short,
    }
}

fn count_objectives() -> u64 {
    Catalog::r2()
        .requirements
        .iter()
        .map(|r| r.assessment_objectives.len() as u64)
        .sum()
}
