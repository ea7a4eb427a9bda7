//! Which advisory concerns which component.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::Severity;
use serde::{Deserialize, Serialize};

use crate::package::{Component, NameMatch, Package};
use crate::version::compare_versions;
use crate::{Advisory, Affected, Statement};

/// How certain a match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The names agree, but the versions are missing or cannot be compared. A person must decide.
    Possible,
    /// The version in use is affected.
    Affected,
}

impl Confidence {
    /// Returns the word for the database and for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Affected => "affected",
        }
    }
}

/// A component that an advisory concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    /// The component.
    pub component: &'a Component,
    /// How certain the match is.
    pub confidence: Confidence,
    /// The version with the fix, if known.
    pub fixed: Option<&'a str>,
    /// Whether only the vendor's name agrees. Such a match is dropped if another advisory of the
    /// same vulnerability names the package itself ([`Index::named_packages`]).
    pub hint: bool,
}

/// An index of components by name.
#[derive(Debug, Default)]
pub struct Index<'a> {
    /// By ecosystem and the one form of the name.
    by_package: HashMap<(&'a str, String), Vec<&'a Component>>,
    /// By the name as vendors write it, whatever the ecosystem.
    by_name: HashMap<String, Vec<&'a Component>>,
}

impl<'a> Index<'a> {
    /// Creates an index of components.
    pub fn new(components: impl IntoIterator<Item = &'a Component>) -> Self {
        let mut index = Self::default();
        for component in components {
            let package = &component.package;
            index
                .by_package
                .entry((&package.ecosystem.0, package.index_name()))
                .or_default()
                .push(component);

            let name = Package::new("", &package.name).index_name();
            if !name.is_empty() {
                index.by_name.entry(name).or_default().push(component);
            }
        }

        index
    }

    /// Returns the components of the name that a package has, with how well the names agree.
    fn named<'s>(
        &'s self,
        package: &'s Package,
    ) -> impl Iterator<Item = (&'a Component, NameMatch)> + 's {
        let name = package.index_name();
        let components = if package.ecosystem.is_vendor() {
            self.by_name.get(&name)
        } else {
            self.by_package.get(&(package.ecosystem.0.as_str(), name))
        };
        components
            .into_iter()
            .flatten()
            .filter_map(|component| Some((*component, package.concerns(&component.package)?)))
    }

    /// Finds the components that an advisory concerns, each once.
    pub fn find_matches<'b>(&self, advisory: &'b Advisory) -> Vec<Match<'b>>
    where
        'a: 'b,
    {
        // What the advisory says about a component in all, as it may name it more than once.
        let mut found: Vec<(&'a Component, Verdict<'b>)> = Vec::new();
        let mut places: HashMap<&Component, usize> = HashMap::new();
        for affected in &advisory.affected {
            for (component, names) in self.named(&affected.package) {
                let verdict = Verdict::of(affected, component, names);
                if let Some(place) = places.get(component) {
                    let before = found[*place].1;
                    found[*place].1 = before.and(verdict);
                } else {
                    places.insert(component, found.len());
                    found.push((component, verdict));
                }
            }
        }

        found
            .into_iter()
            .filter_map(|(component, verdict)| {
                Some(Match {
                    component,
                    confidence: verdict.judgment.confidence()?,
                    fixed: verdict.fixed,
                    hint: verdict.hint,
                })
            })
            .collect()
    }

    /// Returns the packages in use that an advisory names by their ecosystem, affected or not. It
    /// is more precise about them than advisories that use a vendor's name.
    pub fn named_packages(&self, advisory: &Advisory) -> Vec<Package> {
        let named = advisory
            .affected
            .iter()
            .map(|a| &a.package)
            .filter(|p| !p.ecosystem.is_vendor());
        named
            .flat_map(|package| self.named(package))
            .map(|(component, _)| component.package.clone())
            .collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Judgment {
    NotAffected,
    Unsure,
    Affected,
}

impl Judgment {
    fn confidence(self) -> Option<Confidence> {
        match self {
            Self::NotAffected => None,
            Self::Unsure => Some(Confidence::Possible),
            Self::Affected => Some(Confidence::Affected),
        }
    }
}

/// What an advisory says about a component.
#[derive(Clone, Copy)]
struct Verdict<'a> {
    judgment: Judgment,
    fixed: Option<&'a str>,
    hint: bool,
    /// The statement is about one release and that of the component is not known.
    release_unknown: bool,
}

impl<'a> Verdict<'a> {
    fn of(affected: &'a Affected, component: &Component, names: NameMatch) -> Self {
        let (judgment, fixed) = judge_version(affected, component);
        let judgment = match (judgment, names) {
            (Judgment::Affected, NameMatch::CaseDiffers) => Judgment::Unsure,
            (judgment, _) => judgment,
        };

        let release = |package: &Package| {
            package
                .distribution
                .as_ref()
                .is_some_and(|distribution| distribution.release.is_some())
        };
        Self {
            judgment,
            fixed,
            hint: affected.package.ecosystem.is_vendor(),
            release_unknown: release(&affected.package) && !release(&component.package),
        }
    }

    /// Joins two statements about a component. One that affects it is enough, except where the two
    /// are about releases of which only one is that of the component.
    fn and(self, other: Self) -> Self {
        let guessed = self.release_unknown && other.release_unknown;
        if guessed && self.judgment != other.judgment {
            return Self {
                judgment: Judgment::Unsure,
                fixed: None,
                ..self
            };
        }

        // What names the package itself is more precise than what uses the vendor's name.
        let rank = |verdict: &Self| (!verdict.hint, verdict.judgment as u8);
        let affects = |verdict: &Self| verdict.judgment != Judgment::NotAffected;
        match (affects(&self), affects(&other)) {
            (true, false) => self,
            (false, true) => other,
            _ if rank(&other) > rank(&self) => other,
            _ => self,
        }
    }
}

/// Returns the severity of a match; `None` if the publisher gives none that is understood. What
/// attackers use is critical, whoever described it, except where only the vendor's name agrees:
/// that says nothing about the version. Other matches that a person must decide are at most medium.
pub fn match_severity(
    advisory: &Advisory,
    known_exploited: bool,
    found: &Match<'_>,
) -> Option<Severity> {
    let is_exploited = known_exploited || advisory.known_exploited;
    let severity = if is_exploited {
        Some(Severity::Critical)
    } else {
        advisory.severity
    };

    let counts_in_full = match found.confidence {
        Confidence::Affected => true,
        Confidence::Possible => is_exploited && !found.hint,
    };
    if counts_in_full {
        severity
    } else {
        severity.map(|severity| severity.min(Severity::Medium))
    }
}

/// Judges a component's version, and returns the fixed version.
fn judge_version<'a>(affected: &'a Affected, component: &Component) -> (Judgment, Option<&'a str>) {
    let fixed = affected.ranges.iter().find_map(|r| r.fixed.as_deref());
    let ecosystem = &component.package.ecosystem;
    let version = component.version.as_str();

    let is_unaffected = affected
        .unaffected
        .iter()
        .any(|range| range.contains(ecosystem, version) == Some(true));
    if is_unaffected {
        return (Judgment::NotAffected, None);
    }

    let sure = match affected.statement {
        Statement::Affected => Judgment::Affected,
        Statement::UnderInvestigation => Judgment::Unsure,
    };
    let is_listed = !version.is_empty()
        && affected.versions.iter().any(|listed| {
            listed == version
                || compare_versions(ecosystem, listed, version) == Some(Ordering::Equal)
        });
    if is_listed {
        return (sure, fixed);
    }

    if affected.ranges.is_empty() {
        // Where versions are listed, all others are not affected; without any, it is unknown.
        let is_unknown = affected.versions.is_empty() || version.is_empty();
        let judgment = if is_unknown {
            Judgment::Unsure
        } else {
            Judgment::NotAffected
        };
        return (judgment, None);
    }

    let mut unsure = false;
    for range in &affected.ranges {
        match range.contains(ecosystem, version) {
            Some(true) => return (sure, range.fixed.as_deref()),
            Some(false) => {}
            None => unsure = true,
        }
    }

    if unsure {
        (Judgment::Unsure, fixed)
    } else {
        (Judgment::NotAffected, None)
    }
}

/// The ecosystems and distributions that advisories speak of.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    covered: BTreeSet<(String, Option<String>)>,
}

impl Coverage {
    /// Adds what an advisory speaks of.
    pub fn add(&mut self, advisory: &Advisory) {
        for affected in &advisory.affected {
            let package = &affected.package;
            let distribution = package.distribution.as_ref().map(ToString::to_string);
            self.covered
                .insert((package.ecosystem.0.clone(), distribution));
        }
    }

    /// Adds what another coverage has.
    pub fn extend(&mut self, other: Self) {
        self.covered.extend(other.covered);
    }

    fn covers(&self, used: &Package) -> bool {
        let speaks_of = |(ecosystem, distribution): &(String, Option<String>)| {
            let same = match (distribution, &used.distribution) {
                (Some(advised), Some(used)) => {
                    crate::Distribution::from(advised.clone()).covers(used)
                }
                _ => true,
            };
            *ecosystem == used.ecosystem.0 && same
        };
        self.covered.iter().any(speaks_of)
    }

    /// Counts the components that no advisory can concern, by their ecosystem or distribution.
    pub fn count_uncovered<'a>(
        &self,
        components: impl IntoIterator<Item = &'a Component>,
    ) -> BTreeMap<String, u64> {
        let mut covered: HashMap<String, bool> = HashMap::new();
        let mut counts = BTreeMap::new();
        for component in components {
            let package = &component.package;
            let origin = package.origin();
            let is_covered = *covered
                .entry(origin.clone())
                .or_insert_with(|| self.covers(package));
            if !is_covered {
                *counts.entry(origin).or_default() += 1;
            }
        }

        counts
    }
}

#[cfg(test)]
mod tests;
