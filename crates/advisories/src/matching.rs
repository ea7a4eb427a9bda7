//! Which advisory concerns which component.

use std::cmp::Ordering;
use std::collections::HashMap;

use model::Severity;
use serde::{Deserialize, Serialize};

use crate::package::{Component, Package};
use crate::version::compare;
use crate::{Advisory, Affected, Range};

/// How sure we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The names agree; the versions are not said, not known, or of an order that is not known
    /// here. A person must look.
    Possible,
    /// The version in use is one of those concerned.
    Affected,
}

impl Confidence {
    /// The word in the database and in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Affected => "affected",
        }
    }
}

/// An advisory concerns a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    /// The component.
    pub component: &'a Component,
    /// How sure that is.
    pub confidence: Confidence,
    /// A version that no longer is concerned, where one is known.
    pub fixed: Option<&'a str>,
    /// Only the vendor's name for it agrees: no more than a hint, and none where another advisory
    /// of the same vulnerability names the package itself ([`Index::names`]).
    pub hint: bool,
}

/// Components, found by name.
#[derive(Debug, Default)]
pub struct Index<'a> {
    by_package: HashMap<&'a Package, Vec<&'a Component>>,
    /// By what a vendor might call it.
    by_name: HashMap<String, Vec<&'a Component>>,
}

impl<'a> Index<'a> {
    /// Of these components.
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
                .entry(plain(&component.package.name))
                .or_default()
                .push(component);
        }

        index
    }

    /// What an advisory concerns; each component once, with the surest answer.
    pub fn concerned(&self, advisory: &'a Advisory) -> Vec<Match<'a>> {
        let mut found: Vec<Match<'a>> = Vec::new();
        let mut places: HashMap<&Component, usize> = HashMap::new();
        for affected in &advisory.affected {
            let hint = affected.package.ecosystem.is_vendor();
            let components = if hint {
                self.by_name.get(&plain(&affected.package.name))
            } else {
                self.by_package.get(&affected.package)
            };

            for component in components.into_iter().flatten() {
                let Some((confidence, fixed)) = judge(affected, component) else {
                    continue;
                };
                let one = Match {
                    component,
                    confidence,
                    fixed,
                    hint,
                };

                match places.get(*component) {
                    Some(place) if found[*place].confidence >= confidence => {}
                    Some(place) => found[*place] = one,
                    None => {
                        places.insert(component, found.len());
                        found.push(one);
                    }
                }
            }
        }

        found
    }
}

impl Index<'_> {
    /// The packages that are in use and that an advisory names by their ecosystem, whether their
    /// versions are concerned or not: it knows better than one that goes by a vendor's name.
    pub fn names(&self, advisory: &Advisory) -> Vec<Package> {
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

/// How bad a match is: what attackers use is critical where the version is concerned; where only
/// the name agrees, it is at most medium.
pub fn severity(advisory: &Advisory, known_exploited: bool, confidence: Confidence) -> Severity {
    match confidence {
        Confidence::Affected if known_exploited || advisory.known_exploited => Severity::Critical,
        Confidence::Affected => advisory.severity,
        Confidence::Possible => advisory.severity.min(Severity::Medium),
    }
}

/// A name as two people would both write it.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Whether a component's version is concerned; none when it is certainly not.
fn judge<'a>(
    affected: &'a Affected,
    component: &Component,
) -> Option<(Confidence, Option<&'a str>)> {
    let fixed = affected.ranges.iter().find_map(|r| r.fixed.as_deref());
    let version = component.version.as_str();
    let named = affected
        .versions
        .iter()
        .any(|v| same(component, v, version));
    if named && !version.is_empty() {
        return Some((Confidence::Affected, fixed));
    }

    if affected.ranges.is_empty() {
        // Where versions are named, all others are not concerned; where nothing is said of
        // versions, nobody knows.
        return (affected.versions.is_empty() || version.is_empty())
            .then_some((Confidence::Possible, None));
    }

    let mut unsure = false;
    for range in &affected.ranges {
        match within(range, component) {
            Some(true) => return Some((Confidence::Affected, range.fixed.as_deref())),
            Some(false) => {}
            None => unsure = true,
        }
    }

    unsure.then_some((Confidence::Possible, fixed))
}

/// Whether two texts are one version.
fn same(component: &Component, a: &str, b: &str) -> bool {
    a == b || compare(&component.package.ecosystem, a, b) == Some(Ordering::Equal)
}

/// Whether a version lies in a range; none when that cannot be told.
fn within(range: &Range, component: &Component) -> Option<bool> {
    let version = component.version.as_str();
    if version.is_empty() {
        return None;
    }
    let against = |bound: &str| compare(&component.package.ecosystem, version, bound);
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

    fn advisory(affected: Affected) -> Advisory {
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

    fn of(ecosystem: &str, name: &str, versions: &[&str], ranges: &[(&str, &str)]) -> Advisory {
        let bound = |v: &str| (!v.is_empty()).then(|| v.to_owned());
        advisory(Affected {
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

    fn judged(advisory: &Advisory, component: &Component) -> Option<Confidence> {
        Index::new([component])
            .concerned(advisory)
            .first()
            .map(|m| m.confidence)
    }

    #[test]
    fn versions_decide_where_they_are_known() {
        use Confidence::{Affected, Possible};
        let rsa = of("cargo", "rsa", &[], &[("0", "0.9.7")]);
        assert_eq!(
            judged(&rsa, &Component::new("cargo", "rsa", "0.9.6")),
            Some(Affected)
        );
        assert_eq!(judged(&rsa, &Component::new("cargo", "rsa", "0.9.7")), None);
        assert_eq!(judged(&rsa, &Component::new("npm", "rsa", "0.9.6")), None);

        assert_eq!(
            judged(&rsa, &Component::new("cargo", "rsa", "")),
            Some(Possible)
        );
        let never_fixed = of("deb", "xz-utils", &[], &[("5.6.0-0.1", "")]);
        assert_eq!(
            judged(&never_fixed, &Component::new("deb", "xz-utils", "5.6.1-1")),
            Some(Affected)
        );

        assert_eq!(
            judged(
                &never_fixed,
                &Component::new("deb", "xz-utils", "5.4.1-0.2")
            ),
            None
        );

        // PyPI's order is not known here: its list of versions is.
        let django = of("pypi", "django", &["4.2.1"], &[("0", "4.2.2")]);
        assert_eq!(
            judged(&django, &Component::new("pypi", "django", "4.2.1")),
            Some(Affected)
        );
        assert_eq!(
            judged(&django, &Component::new("pypi", "django", "4.2.9")),
            Some(Possible)
        );

        let listed = of("npm", "event-stream", &["3.3.6"], &[]);
        assert_eq!(
            judged(&listed, &Component::new("npm", "event-stream", "4.0.0")),
            None
        );
    }

    #[test]
    fn a_vendors_name_is_only_a_hint_and_what_is_exploited_is_critical() {
        let sudo = of("", "Sudo", &[], &[]);
        let component = Component::new("deb", "sudo", "1.9.13p3-1");
        assert_eq!(judged(&sudo, &component), Some(Confidence::Possible));
        assert_eq!(
            severity(&sudo, true, Confidence::Possible),
            Severity::Medium
        );
        assert_eq!(
            severity(&sudo, true, Confidence::Affected),
            Severity::Critical
        );

        assert_eq!(severity(&sudo, false, Confidence::Affected), Severity::High);
        assert_eq!(sudo.vulnerability(), "CVE-2024-1");
    }
}
