//! Compares versions by the rules of their ecosystem. Does not guess where the rules are not
//! implemented.

mod apk;
mod composer;
mod debian;
mod digits;
mod dotted;
mod gem;
mod maven;
mod rpm;
mod semantic;

use std::cmp::Ordering;

use crate::package::Ecosystem;
use semantic::Dialect;

/// The longest version that is compared, in bytes. Real ones have a tenth of it.
const VERSION_MAX: usize = 400;

/// Compares two versions by their ecosystem's rules; `None` if those are not implemented or a
/// version is not valid.
pub fn compare_versions(ecosystem: &Ecosystem, a: &str, b: &str) -> Option<Ordering> {
    if a.len() > VERSION_MAX || b.len() > VERSION_MAX {
        return None;
    }

    match ecosystem.0.as_str() {
        "cargo" | "npm" | "golang" | "hex" | "swift" | "githubactions" | "julia" => {
            semantic::compare(a, b, Dialect::default())
        }
        "pub" => {
            let orders_builds = true;
            let dialect = Dialect {
                orders_builds,
                ..Dialect::default()
            };
            semantic::compare(a, b, dialect)
        }
        "nuget" => {
            let ignores_case = true;
            let dialect = Dialect {
                ignores_case,
                ..Dialect::default()
            };
            semantic::compare(a, b, dialect)
        }
        "pypi" => compare_python(a, b),
        "composer" => composer::compare(a, b),
        "gem" => gem::compare(a, b),
        "maven" => Some(maven::compare(a, b)),
        "deb" => Some(debian::compare(a, b)),
        "rpm" => Some(rpm::compare(a, b)),
        "apk" => apk::compare(a, b),
        "cran" => dotted::compare_numbers(a, b, &['.', '-']),
        "hackage" => dotted::compare_numbers(a, b, &['.']),
        "conan" => {
            dotted::compare_lettered(a, b).or_else(|| semantic::compare(a, b, Dialect::default()))
        }
        // Bitnami's revision of a package is not part of the version of what it holds.
        "bitnami" => {
            semantic::compare(without_revision(a), without_revision(b), Dialect::default())
        }
        // Vendors count as they like; these are counted alike by all.
        "" => semantic::compare(a, b, Dialect::default()),
        _ => None,
    }
}

/// Compares by PEP 440.
fn compare_python(a: &str, b: &str) -> Option<Ordering> {
    let a: pep440_rs::Version = a.trim().parse().ok()?;
    let b: pep440_rs::Version = b.trim().parse().ok()?;
    Some(a.cmp(&b))
}

fn without_revision(version: &str) -> &str {
    match version.rsplit_once('-') {
        Some((before, revision)) if digits::is_number(revision) => before,
        _ => version,
    }
}

#[cfg(test)]
mod tests;
