//! Which advisory concerns which component.

use std::cmp::Ordering;
use std::collections::HashMap;

use model::Severity;
use serde::{Deserialize, Serialize};

use crate::package::{Component, Package};
use crate::version::compare_versions;
use crate::{Advisory, Affected, Range};

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
    by_package: HashMap<&'a Package, Vec<&'a Component>>,
    /// By normalized name, for the names of vendors.
    by_name: HashMap<String, Vec<&'a Component>>,
}

impl<'a> Index<'a> {
    /// Creates an index of components.
    pub fn new(components: impl IntoIterator<Item = &'a Component>) -> Self {
        let mut index = Self::default();
        for component in components {
            index
                .by_package
                .entry(&component.package)
                .or_default()
                .push(component);
            index
                .by_name
                .entry(normalize_name(&component.package.name))
                .or_default()
                .push(component);
        }

        index
    }

    /// Finds the components that an advisory concerns, each once with the most certain match.
    pub fn find_matches(&self, advisory: &'a Advisory) -> Vec<Match<'a>> {
        let mut found: Vec<Match<'a>> = Vec::new();
        let mut places: HashMap<&Component, usize> = HashMap::new();
        for affected in &advisory.affected {
            let hint = affected.package.ecosystem.is_vendor();
            let components = if hint {
                self.by_name.get(&normalize_name(&affected.package.name))
            } else {
                self.by_package.get(&affected.package)
            };

            for component in components.into_iter().flatten() {
                let Some((confidence, fixed)) = judge_version(affected, component) else {
                    continue;
                };
                let new = Match {
                    component,
                    confidence,
                    fixed,
                    hint,
                };

                match places.get(*component) {
                    Some(place) if found[*place].confidence >= confidence => {}
                    Some(place) => found[*place] = new,
                    None => {
                        places.insert(component, found.len());
                        found.push(new);
                    }
                }
            }
        }

        found
    }
}

impl Index<'_> {
    /// Returns the packages in use that an advisory names by their ecosystem, affected or not. It
    /// is more precise about them than advisories that use a vendor's name.
    pub fn named_packages(&self, advisory: &Advisory) -> Vec<Package> {
        let named = advisory
            .affected
            .iter()
            .map(|a| &a.package)
            .filter(|p| !p.ecosystem.is_vendor());
        named
            .filter(|p| self.by_package.contains_key(p))
            .cloned()
            .collect()
    }
}

/// Returns the severity of a match: critical if the version is affected and the vulnerability is
/// exploited, at most medium if only the name agrees.
pub fn match_severity(
    advisory: &Advisory,
    known_exploited: bool,
    confidence: Confidence,
) -> Severity {
    match confidence {
        Confidence::Affected if known_exploited || advisory.known_exploited => Severity::Critical,
        Confidence::Affected => advisory.severity,
        Confidence::Possible => advisory.severity.min(Severity::Medium),
    }
}

/// Normalizes a name to its lower-case letters and digits.
fn normalize_name(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Returns whether a component's version is affected, with the fixed version; `None` when it is
/// certainly not affected.
fn judge_version<'a>(
    affected: &'a Affected,
    component: &Component,
) -> Option<(Confidence, Option<&'a str>)> {
    let fixed = affected.ranges.iter().find_map(|r| r.fixed.as_deref());
    let version = component.version.as_str();
    let named = affected
        .versions
        .iter()
        .any(|v| is_same_version(component, v, version));
    if named && !version.is_empty() {
        return Some((Confidence::Affected, fixed));
    }

    if affected.ranges.is_empty() {
        // Where versions are listed, all others are not affected; without any, it is unknown.
        return (affected.versions.is_empty() || version.is_empty())
            .then_some((Confidence::Possible, None));
    }

    let mut unsure = false;
    for range in &affected.ranges {
        match is_within(range, component) {
            Some(true) => return Some((Confidence::Affected, range.fixed.as_deref())),
            Some(false) => {}
            None => unsure = true,
        }
    }

    unsure.then_some((Confidence::Possible, fixed))
}

/// Returns whether two texts denote the same version.
fn is_same_version(component: &Component, a: &str, b: &str) -> bool {
    a == b || compare_versions(&component.package.ecosystem, a, b) == Some(Ordering::Equal)
}

/// Returns whether a version lies in a range; `None` when it cannot be compared.
fn is_within(range: &Range, component: &Component) -> Option<bool> {
    let version = component.version.as_str();
    if version.is_empty() {
        return None;
    }

    let against = |bound: &str| compare_versions(&component.package.ecosystem, version, bound);
    if let Some(introduced) = range.introduced.as_deref().filter(|v| *v != "0")
        && against(introduced)? == Ordering::Less
    {
        return Some(false);
    }

    if let Some(fixed) = &range.fixed
        && against(fixed)? != Ordering::Less
    {
        return Some(false);
    }

    if let Some(last) = &range.last_affected
        && against(last)? == Ordering::Greater
    {
        return Some(false);
    }

    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advisory_about(affected: Affected) -> Advisory {
        Advisory {
            id: "X-1".to_owned(),
            feed: "osv".to_owned(),
            title: "x".to_owned(),
            summary: String::new(),
            severity: Severity::High,
            aliases: vec!["CVE-2024-1".to_owned()],
            known_exploited: false,
            due: None,
            published: None,
            action: None,
            affected: vec![affected],
        }
    }

    fn advisory_for(
        ecosystem: &str,
        name: &str,
        versions: &[&str],
        ranges: &[(&str, &str)],
    ) -> Advisory {
        let bound = |v: &str| (!v.is_empty()).then(|| v.to_owned());
        advisory_about(Affected {
            package: Component::new(ecosystem, name, "").package,
            versions: versions.iter().map(|v| (*v).to_owned()).collect(),
            ranges: ranges
                .iter()
                .map(|(from, to)| Range {
                    introduced: bound(from),
                    fixed: bound(to),
                    last_affected: None,
                })
                .collect(),
        })
    }

    fn first_confidence(advisory: &Advisory, component: &Component) -> Option<Confidence> {
        Index::new([component])
            .find_matches(advisory)
            .first()
            .map(|m| m.confidence)
    }

    #[test]
    fn versions_decide_where_they_are_known() {
        use Confidence::{Affected, Possible};
        let rsa = advisory_for("cargo", "rsa", &[], &[("0", "0.9.7")]);
        assert_eq!(
            first_confidence(&rsa, &Component::new("cargo", "rsa", "0.9.6")),
            Some(Affected)
        );
        assert_eq!(
            first_confidence(&rsa, &Component::new("cargo", "rsa", "0.9.7")),
            None
        );
        assert_eq!(
            first_confidence(&rsa, &Component::new("npm", "rsa", "0.9.6")),
            None
        );

        assert_eq!(
            first_confidence(&rsa, &Component::new("cargo", "rsa", "")),
            Some(Possible)
        );
        let never_fixed = advisory_for("deb", "xz-utils", &[], &[("5.6.0-0.1", "")]);
        assert_eq!(
            first_confidence(&never_fixed, &Component::new("deb", "xz-utils", "5.6.1-1")),
            Some(Affected)
        );

        assert_eq!(
            first_confidence(
                &never_fixed,
                &Component::new("deb", "xz-utils", "5.4.1-0.2")
            ),
            None
        );

        // PyPI's order is not implemented, but listed versions are compared.
        let django = advisory_for("pypi", "django", &["4.2.1"], &[("0", "4.2.2")]);
        assert_eq!(
            first_confidence(&django, &Component::new("pypi", "django", "4.2.1")),
            Some(Affected)
        );
        assert_eq!(
            first_confidence(&django, &Component::new("pypi", "django", "4.2.9")),
            Some(Possible)
        );

        let listed = advisory_for("npm", "event-stream", &["3.3.6"], &[]);
        assert_eq!(
            first_confidence(&listed, &Component::new("npm", "event-stream", "4.0.0")),
            None
        );
    }

    #[test]
    fn vendor_names_are_hints_and_exploited_matches_are_critical() {
        let sudo = advisory_for("", "Sudo", &[], &[]);
        let component = Component::new("deb", "sudo", "1.9.13p3-1");
        assert_eq!(
            first_confidence(&sudo, &component),
            Some(Confidence::Possible)
        );
        assert_eq!(
            match_severity(&sudo, true, Confidence::Possible),
            Severity::Medium
        );
        assert_eq!(
            match_severity(&sudo, true, Confidence::Affected),
            Severity::Critical
        );

        assert_eq!(
            match_severity(&sudo, false, Confidence::Affected),
            Severity::High
        );
        assert_eq!(sudo.vulnerability(), "CVE-2024-1");
    }
}
