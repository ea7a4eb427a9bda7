//! The product statuses of a vulnerability: which versions are affected, which are not.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::Value;

use super::products::{Product, Versions};
use crate::package::{Ecosystem, Package};
use crate::range::{Event, ranges_of_events};
use crate::version::compare_versions;
use crate::{Affected, Range, Statement};

/// Versions of one package with the same status.
#[derive(Debug, Default)]
struct Listed {
    versions: Vec<String>,
    ranges: Vec<Range>,
    /// The ranges as the document writes them: a list of products may have copied them.
    texts: Vec<String>,
    /// The package is named without a version.
    unnamed: bool,
}

impl Listed {
    fn add(&mut self, versions: &Versions) {
        match versions {
            Versions::Unnamed => self.unnamed = true,
            Versions::One(version) => self.versions.push(version.clone()),
            Versions::Ranges(ranges, text) => {
                self.ranges.extend(ranges.iter().cloned());
                self.texts.push(text.clone());
            }
        }
    }

    fn names_versions(&self) -> bool {
        !self.versions.is_empty() || !self.ranges.is_empty()
    }

    fn versions_and_texts(&self) -> impl Iterator<Item = &String> {
        self.versions.iter().chain(&self.texts)
    }

    fn is_empty(&self) -> bool {
        !self.unnamed && !self.names_versions()
    }

    fn remove_doubles(&mut self) {
        self.versions.sort_unstable();
        self.versions.dedup();
        self.texts.sort_unstable();
        self.texts.dedup();
    }
}

/// What a document says about one package.
#[derive(Debug, Default)]
struct Statements {
    affected: Listed,
    first_affected: Listed,
    last_affected: Listed,
    /// Fixed, first fixed and recommended.
    fixed: Listed,
    not_affected: Listed,
    investigated: Listed,
}

impl Statements {
    fn of_status(&mut self, status: &str) -> Option<&mut Listed> {
        Some(match status {
            "known_affected" => &mut self.affected,
            "first_affected" => &mut self.first_affected,
            "last_affected" => &mut self.last_affected,
            "fixed" | "first_fixed" | "recommended" => &mut self.fixed,
            "known_not_affected" => &mut self.not_affected,
            // `unknown` since version 2.1.
            "under_investigation" | "unknown" => &mut self.investigated,
            _ => return None,
        })
    }

    fn all(&mut self) -> [&mut Listed; 6] {
        [
            &mut self.affected,
            &mut self.first_affected,
            &mut self.last_affected,
            &mut self.fixed,
            &mut self.not_affected,
            &mut self.investigated,
        ]
    }
}

/// Counts the products that the product tree does not have.
pub(super) fn count_unnamed(vulnerability: &Value, products: &HashMap<String, Product>) -> usize {
    let statuses = vulnerability
        .get("product_status")
        .and_then(Value::as_object);
    statuses
        .into_iter()
        .flat_map(|statuses| statuses.values())
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(Value::as_str)
        .filter(|id| {
            products
                .get(*id)
                .is_none_or(|product| product.packages.is_empty())
        })
        .count()
}

/// Returns the packages that are affected or may be, in the order of the document.
pub(super) fn affected_packages(
    vulnerability: &Value,
    products: &HashMap<String, Product>,
) -> Vec<Affected> {
    let mut by_package: Vec<(&Package, Statements)> = Vec::new();
    let mut places: HashMap<&Package, usize> = HashMap::new();
    let statuses = vulnerability
        .get("product_status")
        .and_then(Value::as_object);

    for (status, ids) in statuses.into_iter().flatten() {
        let ids = ids
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        for product in ids.filter_map(|id| products.get(id)) {
            for package in &product.packages {
                let place = *places.entry(package).or_insert_with(|| {
                    by_package.push((package, Statements::default()));
                    by_package.len() - 1
                });
                if let Some(listed) = by_package[place].1.of_status(status) {
                    listed.add(&product.versions);
                }
            }
        }
    }

    by_package
        .into_iter()
        .flat_map(|(package, mut statements)| {
            statements
                .all()
                .into_iter()
                .for_each(Listed::remove_doubles);
            describe_package(package, &statements)
        })
        .collect()
}

fn describe_package(package: &Package, statements: &Statements) -> Vec<Affected> {
    let unaffected = unaffected_ranges(statements);
    let mut described = Vec::new();
    let mut say = |statement: Statement, versions: Vec<String>, ranges: Vec<Range>| {
        described.push(Affected {
            versions,
            ranges,
            unaffected: unaffected.clone(),
            statement,
            ..Affected::new(package.clone())
        });
    };

    let affected = &statements.affected;
    let bounds = bounded_ranges(&package.ecosystem, statements);
    if affected.names_versions() || !bounds.is_empty() {
        let ranges = affected.ranges.iter().cloned().chain(bounds).collect();
        let versions = affected.versions_and_texts().cloned().collect();
        say(Statement::Affected, versions, ranges);
    } else if !statements.fixed.versions.is_empty() {
        // Some publishers only list what is fixed: what is older is affected.
        let (older, between) = ranges_before_fixes(&package.ecosystem, &statements.fixed.versions);
        say(Statement::Affected, Vec::new(), older);
        if !between.is_empty() {
            say(Statement::UnderInvestigation, Vec::new(), between);
        }
    } else if affected.unnamed {
        // A vendor's product without a version is a family of them, a package is all its versions.
        let all = Range::default();
        let ranges = if package.ecosystem.is_vendor() {
            Vec::new()
        } else {
            vec![all]
        };
        say(Statement::Affected, Vec::new(), ranges);
    }

    let investigated = &statements.investigated;
    if !investigated.is_empty() {
        let versions = investigated.versions_and_texts().cloned().collect();
        say(
            Statement::UnderInvestigation,
            versions,
            investigated.ranges.clone(),
        );
    }

    described
}

/// Returns what is fixed or not affected, except versions that are also listed as affected: those
/// are affected on some platform.
fn unaffected_ranges(statements: &Statements) -> Vec<Range> {
    let affected: Vec<&String> = statements.affected.versions_and_texts().collect();
    [&statements.fixed, &statements.not_affected]
        .into_iter()
        .flat_map(|listed| {
            let exact = listed
                .versions_and_texts()
                .filter(|version| !affected.contains(version))
                .map(|version| Range::exactly(version));
            exact
                .chain(listed.ranges.iter().cloned())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Returns the ranges from the first affected version to the last, or to the fix.
fn bounded_ranges(ecosystem: &Ecosystem, statements: &Statements) -> Vec<Range> {
    let first = &statements.first_affected.versions;
    let last = &statements.last_affected.versions;
    if first.is_empty() && last.is_empty() {
        return Vec::new();
    }

    let mut events: Vec<Event> = first.iter().cloned().map(Event::Introduced).collect();
    if events.is_empty() {
        events.push(Event::Introduced("0".to_owned()));
    }
    events.extend(last.iter().cloned().map(Event::LastAffected));
    if last.is_empty() {
        events.extend(statements.fixed.versions.iter().cloned().map(Event::Fixed));
    }

    ranges_of_events(ecosystem, events)
}

/// Returns what is older than all fixed versions, and what lies between them: a version of another
/// branch, which may be fixed or not.
fn ranges_before_fixes(ecosystem: &Ecosystem, fixed: &[String]) -> (Vec<Range>, Vec<Range>) {
    let older = |a: &str, b: &str| compare_versions(ecosystem, a, b) == Some(Ordering::Less);
    let oldest = fixed
        .iter()
        .find(|version| !fixed.iter().any(|other| older(other, version)));
    let newest = fixed
        .iter()
        .find(|version| !fixed.iter().any(|other| older(version, other)));
    let (Some(oldest), Some(newest)) = (oldest, newest) else {
        return (Vec::new(), Vec::new());
    };

    let between = Range {
        introduced: Some(oldest.clone()),
        fixed: Some(newest.clone()),
        last_affected: None,
    };
    let has_between = older(oldest, newest);
    (
        vec![Range::before(oldest)],
        Vec::from_iter(has_between.then_some(between)),
    )
}
